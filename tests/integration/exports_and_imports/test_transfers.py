"""Imports and exports over the management API: streamed both ways, continued after a cut, each bad line reported."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from penstock.domain.callers import Role
from penstock.store.audit import AuditAction
from penstock.store.tokens import NewToken, create_token
from penstock.things.tabular import MAX_CHARACTERS
from tests.eventually import eventually
from tests.integration.ingress import ADMIN, Answer, Ingress, running_ingress, write_app

IMPORT = "/v1/live/data/order/import"
EXPORT = "/v1/live/data/order/export"


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as running:
        yield running


async def send(ingress: Ingress, body: bytes, query: str = "", **headers: str) -> Answer:
    async def pieces() -> AsyncIterator[bytes]:
        for first in range(0, len(body), 100_000):
            yield body[first : first + 100_000]

    return await ingress.manage("POST", f"{IMPORT}{query}", data=pieces(), headers={**ADMIN, **headers})


async def names(ingress: Ingress) -> list[object]:
    rows = await ingress.fetch('SELECT name FROM live."order" ORDER BY number, name')
    return [row["name"] for row in rows]


async def lines(ingress: Ingress, id: object) -> dict[int, str]:
    answer = await ingress.manage("GET", f"/v1/live/imports/{id}/lines?limit=500")
    results = answer.json["results"]
    assert isinstance(results, list)
    return {line["line"]: line["message"] for line in results}


async def things(ingress: Ingress) -> list[dict[str, object]]:
    exported = await ingress.manage("GET", f"{EXPORT}?format=jsonl")
    found = [json.loads(line) for line in exported.body.splitlines()]
    return [{name: value for name, value in thing.items() if name != "Modified Date"} for thing in found]


async def test_lines_become_things_and_each_bad_one_is_reported(ingress: Ingress) -> None:
    body = b"\n".join(
        [
            b"\xef\xbb\xbfNumber;name;tags;_id;Created Date",
            b'1;"a;b";"[""x""]";;2020-01-01',
            b"two;c",
            b"3;\xff;",
            b"4;n\x00ul",
            b"5;" + b"x" * (MAX_CHARACTERS + 1),
            b'6;"open',
            b"7;g;;1700000000000x1;2020-13-45",
            b"8;h;;;",
            b"9;i;;;;more",
            b"",
        ]
    )
    answer = await send(ingress, body)
    assert answer.status == 200, answer.body
    assert (answer.json["state"], answer.json["created"], answer.json["failed"]) == ("finished", 2, 7)
    assert answer.headers["location"] == f"/v1/live/imports/{answer.json['id']}"
    assert await names(ingress) == ["a;b", "h"]
    found = await lines(ingress, answer.json["id"])
    assert sorted(found) == [3, 4, 5, 6, 7, 8, 10]
    for line, part in (
        (3, "cells"), (4, "UTF-8"), (6, "longer than 1048576"), (7, "quote that is opened"), (10, "6 cells"),
    ):  # fmt: skip
        assert part in found[line]
    first = await ingress.manage("GET", f"/v1/live/imports/{answer.json['id']}/lines?limit=2")
    assert first.json["after"] == "4"
    second = await ingress.manage("GET", f"/v1/live/imports/{answer.json['id']}/lines?limit=500&after=4")
    assert isinstance(second.json["results"], list)
    assert (len(second.json["results"]), second.json["after"]) == (5, None)
    creators = await ingress.fetch('SELECT DISTINCT created_by FROM live."order"')
    assert [row["created_by"] for row in creators] == ["admin_user_integration_live"]


UNREADABLE = [
    (b"number,nam\n1,a\n", "", "no field 'nam'; did you mean 'name'?"),
    (b"name,Name\na,b\n", "", "the field 'name' is named twice"),
    (b"name,\na,b\n", "", "column 2 has no name"),
    (b"na\x00me\na\n", "", "the first line, which names the fields, cannot be read"),
    (b"", "", "the file is empty"),
    ("name\na\n".encode("utf-16"), "", "save the file as UTF-8"),
    (b"name\na\n", "?upsert=name", "needs these fields as one entry of `unique`"),
]


async def test_what_cannot_be_imported_at_all_is_refused_with_the_reason(ingress: Ingress) -> None:
    for body, query, reason in UNREADABLE:
        answer = await send(ingress, body, query)
        assert answer.status == 422, answer.body
        assert reason in str(answer.json["detail"])
        shown = await ingress.manage("GET", f"/v1/live/imports/{answer.json['import']}")
        if shown.status == 200:  # it had begun
            assert (shown.json["state"], shown.json["created"]) == ("failed", 0)
            assert reason in str(shown.json["error"])


REFUSED = [
    ("POST", "/v1/live/data/ordr/import", 404),
    ("POST", "/v1/nowhere/data/order/import", 404),
    ("POST", f"{IMPORT}?format=xml", 400),
    ("POST", f"{IMPORT}?raw=perhaps", 400),
    ("POST", f"{IMPORT}?upserts=number", 422),
    ("GET", "/v1/live/data/ordr/export", 404),
    ("GET", f"{EXPORT}?constraints=%7B%7D", 400),
    ("GET", f"{EXPORT}?constraints=%5B%7B%22key%22:%22gone%22,%22constraint_type%22:%22equals%22%7D%5D", 400),
    ("GET", "/v1/live/imports?after=%C3%A9", 400),
    ("GET", "/v1/live/imports/0190a5f2-7c00-8a11-9b22-0123456789ab", 404),
    ("GET", "/v1/live/imports/0190a5f2-7c00-8a11-9b22-0123456789ab/lines", 404),
    ("GET", "/v1/live/imports/0190a5f2-7c00-8a11-9b22-0123456789ab/lines?after=-1", 400),
]


async def test_what_is_not_there_or_cannot_be_meant_is_refused(ingress: Ingress) -> None:
    for method, path, status in REFUSED:
        answer = await ingress.manage(method, path, data=b"name\na\n" if method == "POST" else None)
        assert answer.status == status, (path, answer.body)
        assert answer.headers["content-type"] == "application/problem+json"


async def test_an_import_that_was_cut_off_continues_with_its_key(ingress: Ingress) -> None:
    rows = [f"{number},{'x' * 4000}\n".encode() for number in range(3000)]
    held = asyncio.Event()

    async def cut_off() -> AsyncIterator[bytes]:
        yield b"number,name\n"
        yield b"".join(rows)
        await held.wait()

    sending = asyncio.create_task(
        ingress.manage("POST", IMPORT, data=cut_off(), headers={**ADMIN, "Idempotency-Key": "k1"})
    )

    async def is_begun() -> bool:
        shown = await ingress.manage("GET", "/v1/live/imports")
        results = shown.json["results"]
        assert isinstance(results, list)
        return bool(results) and results[0]["state"] == "running" and results[0]["created"] > 1000

    await eventually(is_begun, within=30)
    sending.cancel()
    await asyncio.wait({sending})
    before = await ingress.fetchval('SELECT count(*) FROM live."order"')
    assert isinstance(before, int)
    assert 1000 < before < 3000

    async def has_ended() -> bool:
        return await ingress.fetchval("SELECT error FROM penstock.imports") is not None

    await eventually(has_ended)
    again = await send(ingress, b"number,name\n" + b"".join(rows), **{"Idempotency-Key": "k1"})
    assert (again.status, again.json["created"], again.json["state"]) == (200, 3000, "finished")
    repeated = await send(ingress, b"number,name\n" + b"".join(rows), **{"Idempotency-Key": "k1"})
    assert (repeated.status, repeated.json["id"], repeated.json["created"]) == (200, again.json["id"], 3000)
    assert await ingress.fetchval('SELECT count(*) FROM live."order"') == 3000
    other = await send(ingress, b"{}\n", "?format=jsonl", **{"Idempotency-Key": "k1"})
    assert (other.status, "is not what the import began with" in str(other.json["detail"])) == (422, True)


async def test_what_is_exported_can_be_imported(ingress: Ingress) -> None:
    given = [{"number": 1, "name": "=1+1", "tags": ["a", "b"]}, {"number": 2.5, "name": "ü\n'x"}]
    body = "".join(json.dumps(one) + "\n" for one in given).encode()
    first = await send(ingress, body, **{"Content-Type": "application/x-ndjson"})
    assert (first.status, first.json["created"]) == (200, 2), first.body
    stored = await things(ingress)
    for format, kind in (("csv", "text/csv"), ("jsonl", "application/jsonl")):
        exported = await ingress.manage("GET", f"{EXPORT}?format={format}")
        assert (exported.status, exported.headers["content-type"]) == (200, kind)
        assert exported.headers["content-disposition"].endswith(f"order.{format}")
        assert (b"'=1+1" in exported.body) == (format == "csv")
        await ingress.fetch('DELETE FROM live."order"')
        again = await send(ingress, exported.body, f"?format={format}")
        assert (again.json["created"], again.json["failed"]) == (2, 0)
        assert await things(ingress) == stored
    where = "constraints=%5B%7B%22key%22:%22number%22,%22constraint_type%22:%22less than%22,%22value%22:2%7D%5D"
    some = await ingress.manage("GET", f"{EXPORT}?format=jsonl&{where.replace(' ', '%20')}")
    assert [json.loads(line)["number"] for line in some.body.splitlines()] == [1]
    raw = await ingress.manage("GET", f"{EXPORT}?raw=true")
    assert b"'=1+1" not in raw.body
    head = await ingress.manage("HEAD", EXPORT)
    assert (head.status, head.body) == (200, b"")
    audit = await ingress.fetch("SELECT DISTINCT action, subject FROM penstock.audit")
    assert {(row["action"], row["subject"]) for row in audit} == {
        (AuditAction.THINGS_IMPORT, "order"), (AuditAction.THINGS_EXPORT, "order"),
    }  # fmt: skip


async def test_a_token_transfers_what_it_reaches_alone(ingress: Ingress) -> None:
    async def token(**over: Any) -> dict[str, str]:
        async with ingress.database.connection() as conn:
            made, _ = await create_token(conn, replace(NewToken(label="t"), **over), actor="test")
        return {"Authorization": f"Bearer {made}"}

    viewer, other = await token(role=Role.VIEWER), await token(role=Role.OPERATOR, types=["secret"])
    for headers, method, path, status in (
        (viewer, "POST", IMPORT, 403),
        (viewer, "GET", EXPORT, 200),
        (await token(role=Role.VIEWER, sees_payloads=False), "GET", EXPORT, 403),
        (other, "POST", IMPORT, 403),
        (other, "GET", EXPORT, 403),
        (other, "GET", "/v1/live/data/secret/export", 200),
        (await token(role=Role.OPERATOR, workflows=["greet"]), "GET", EXPORT, 403),
    ):
        data = b"name\na\n" if method == "POST" else None
        answer = await ingress.manage(method, path, data=data, headers=headers)
        assert answer.status == status, (path, answer.body)
    imported = await send(ingress, b"name\na\n")
    hidden = await ingress.manage("GET", f"/v1/live/imports/{imported.json['id']}", headers=other)
    assert hidden.status == 404
