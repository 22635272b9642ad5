"""Bulk creation over the Data API, byte for byte where it is known (BUBBLE 2.4)."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.ingress import ADMIN, Ingress, running_ingress

UNITS = "/api/1.1/obj/rentalunit"
TYPES = """
type: rentalunit
api: true
fields: {rooms: number}
unique: [Slug]
"""
PLAIN = {**ADMIN, "Content-Type": "text/plain"}
NOT_LINES = (
    b'{"statusCode":400,"body":{"status":"ERROR","message":"Expecting a newline-seperated list of JSON objects.  Make '
    b'sure the Content-Type header is text/plain"}}'
)


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    for name, content in {"app.yaml": "app: rentals", "types/all.yaml": TYPES}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    async with running_ingress(database_url, amqp_url, tmp_path) as running:
        yield running


async def count(ingress: Ingress) -> object:
    return await ingress.fetchval("SELECT count(*) FROM live.rentalunit")


async def rooms_of(ingress: Ingress, id: str) -> object:
    return await ingress.fetchval("SELECT rooms::int FROM live.rentalunit WHERE _id = $1", id)


async def test_bulk_byte_for_byte(ingress: Ingress) -> None:
    lines = [
        '{"rooms":1}',
        "{rooms",
        '{"colour":1}',
        '{"rooms":"two"}',
        "[]",
        '{"Slug":"a"}',
        '{"Slug":"a"}',
        '{"rooms":2}',
    ]
    answer = await ingress.send("POST", f"{UNITS}/bulk", data="\n".join(lines).encode(), headers=PLAIN)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain")
    said = answer.body.split(b"\n")
    assert len(said) == len(lines)
    good = re.compile(rb'\{"status":"success","id":"\d{13}x\d{15,18}"\}')
    assert [good.fullmatch(said[position]) is not None for position in (0, 5, 7)] == [True] * 3
    assert said[1] == b'{"status":"error","message":"Could not parse as JSON: {rooms"}'
    assert said[2] == b'{"status":"error","message":"Unrecognized field: colour"}'
    assert said[3].startswith(b'{"status":"error","message":"Invalid data for field rooms: ')
    assert said[4] == b'{"status":"error","message":"Could not parse as JSON: []"}'
    assert said[6].startswith(b'{"status":"error","message":"The values are not unique: ')
    ids = [json.loads(said[position])["id"] for position in (0, 7)]
    assert [await rooms_of(ingress, id) for id in ids] == [1, 2]


async def test_a_bulk_request_of_another_content_type_byte_for_byte(ingress: Ingress) -> None:
    for content_type, body in (("application/json", b'{"rooms":1}'), ("text/plain", b""), ("text/plain", b"\n \n")):
        headers = {**ADMIN, "Content-Type": content_type}
        answer = await ingress.send("POST", f"{UNITS}/bulk", data=body, headers=headers)
        assert (answer.status, answer.body) == (400, NOT_LINES)


async def test_bulk_takes_1000_lines_with_any_line_breaks(ingress: Ingress) -> None:
    body = b"\r\n".join(b'{"rooms":%d}' % number for number in range(1000)) + b"\n"
    answer = await ingress.send(
        "POST", f"{UNITS}/bulk", data=body, headers={**PLAIN, "Content-Type": "text/plain; charset=utf-8"}
    )
    assert answer.body.count(b'"success"') == 1000
    assert await count(ingress) == 1000
    more = await ingress.send("POST", f"{UNITS}/bulk", data=b"{}\n" * 1001, headers=PLAIN)
    assert (more.status, more.wrapped[:2]) == (400, (400, "ERROR"))
    assert await count(ingress) == 1000


async def test_bulk_without_rights_says_so_line_by_line(ingress: Ingress) -> None:
    answer = await ingress.send("POST", f"{UNITS}/bulk", data=b"{}\n{}", headers={"Content-Type": "text/plain"})
    line = b'{"status":"error","message":"Permission denied: cannot create this object"}'
    assert (answer.status, answer.body) == (200, line + b"\n" + line)
    assert await count(ingress) == 0


async def test_bulk_with_a_key_is_done_once_and_answered_the_same(ingress: Ingress) -> None:
    body = b'{"rooms":1}\n{"Slug":"a"}\n{"Slug":"a"}\n{ro\x00\xffoms\n{"rooms":"two"}\n{"rooms":3}'
    keyed = {**PLAIN, "Idempotency-Key": "k1"}
    answers = await asyncio.gather(*(ingress.send("POST", f"{UNITS}/bulk", data=body, headers=keyed) for _ in range(4)))
    assert {(answer.status, answer.headers["content-type"], answer.body) for answer in answers} == {
        (200, "text/plain", answers[0].body)
    }
    assert sorted("idempotent-replayed" in answer.headers for answer in answers) == [False, True, True, True]
    said = [json.loads(line)["status"] for line in answers[0].body.split(b"\n")]
    assert said == ["success", "success", "error", "error", "error", "success"]
    assert await count(ingress) == 3
    other = await ingress.send("POST", f"{UNITS}/bulk", data=b'{"rooms":4}', headers=keyed)
    assert other.status == 422
    nothing = await ingress.send("POST", f"{UNITS}/bulk", data=b"", headers={**PLAIN, "Idempotency-Key": "k2"})
    assert (nothing.status, nothing.body) == (400, NOT_LINES)
    good = await ingress.send("POST", f"{UNITS}/bulk", data=b'{"rooms":4}', headers={**PLAIN, "Idempotency-Key": "k2"})
    assert (good.status, await count(ingress)) == (200, 4), "what was refused keeps no key"
