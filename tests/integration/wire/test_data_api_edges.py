"""The Data API at its edges: every request has an answer that says what is wrong and where, never a 5xx."""

import json
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import quote

import pytest

from penstock.testing.databases import fresh_database
from tests.integration.ingress import ADMIN, Ingress, running_ingress
from tests.servers import Servers, fresh_vhost

ROWS: Final = "/api/1.1/obj/row"
APP = "app: edges\noptions: {n: [a, b]}\n"
TYPES = """
type: row
api: true
fields: {n: n, t: text, o: number, q: date, r: date range, p: geographic address, s: list of text, user: user}
"""
"""Named as our own statements name their parts, where they can be."""
DEEP: Final = "[" * 600 + "]" * 600


@pytest.fixture(scope="module")
async def ingress(
    servers: Servers, database_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Ingress]:
    directory = tmp_path_factory.mktemp("edges")
    (directory / "app.yaml").write_text(APP)
    (directory / "types").mkdir()
    (directory / "types/row.yaml").write_text(TYPES)
    async with (
        fresh_database(servers.database_url, template=database_template) as database_url,
        fresh_vhost(servers) as amqp_url,
        running_ingress(database_url, amqp_url, directory) as running,
    ):
        yield running


def constraints(*listed: object) -> str:
    return "constraints=" + quote(json.dumps(listed))


def one(key: str, kind: str, value: object) -> str:
    return constraints({"key": key, "constraint_type": kind, "value": value})


def place(lat: object, lng: object, reach: object = 1) -> str:
    return one("p", "geographic_search", {"range": reach, "origin_address": {"lat": lat, "lng": lng}})


QUERIES: Final[tuple[tuple[str, int, str], ...]] = (
    ("limit=99999999999999999999", 400, "Invalid value for limit: expected a whole number"),
    ("limit=-99999999999999999999", 400, "Invalid value for limit: expected a whole number"),
    ("limit=1e3", 400, "Invalid value for limit: expected a whole number"),
    ("limit=4611686018427387903", 200, ""),
    ("limit=-4611686018427387903", 200, ""),
    ("cursor=9223372036854775808", 400, "Invalid value for cursor: expected a whole number"),
    ("cursor=4611686018427387903&limit=100", 200, ""),
    ("cursor=-4611686018427387903", 200, ""),
    ("cursor=%D9%A3", 400, "Invalid value for cursor: expected a whole number"),
    (one("t", "in", ["x"] * 900), 431, "the request line or a header is longer than is accepted"),
    (f"cursor={'9' * 5_000}", 400, "Invalid value for cursor"),
    ("descending=perhaps", 400, "Invalid value for descending: expected true or false"),
    ("sort_field=%00", 400, "Unrecognized field"),
    ("sort_field=%ed%a0%80", 400, "a percent-encoded text is not UTF-8"),
    ("sort_field=s", 400, "things cannot be sorted by s, which is a list of text"),
    ("after=AAAA", 400, "`after` has to be what an earlier page"),
    ("constraints={}", 400, "Invalid value for constraints: expected a list in JSON of at most 100 items"),
    ("constraints=" + quote("[1]"), 400, ""),
    (f"constraints={quote(DEEP)}", 400, "Invalid value for constraints: expected a list in JSON"),
    (constraints(*[{"key": "t", "constraint_type": "is_empty"}] * 50), 200, ""),
    (constraints(*[{}] * 101), 400, "of at most 100 items"),
    (constraints({"key": "t"}), 400, ""),
    (constraints({"key": ["t"], "constraint_type": "equals", "value": 1}), 400, ""),
    (constraints({"key": "t", "constraint_type": {}, "value": 1}), 400, ""),
    (one("t\x00", "equals", "x"), 400, "Unrecognized field"),
    ("constraints=%5B%7B%22key%22%3A%22%5Cud800%22%2C%22constraint_type%22%3A%22equals%22%7D%5D", 400, ""),
    (one("", "equals", "x"), 400, "Unrecognized field"),
    (one("x" * 4_000, "equals", "x"), 400, "Unrecognized field"),
    (one("t", "equals\x00", "x"), 404, "Constraint type not found"),
    (one("t", "in", ["x"] * 200), 200, ""),
    (one("t", "equals", {"a": 1}), 400, "the value for t does not fit"),
    (one("o", "equals", 10**400), 400, ""),
    (one("o", "equals", 9007199254740993), 200, ""),
    (one("o", "greater than", "9" * 400), 400, "the value for o does not fit"),
    (one("o", "in", [1, "x"]), 400, "the value for o does not fit"),
    (one("q", "greater than", "0001-01-01T00:00:00Z"), 200, ""),
    (one("q", "less than", "9999-12-31T23:59:59.999Z"), 200, ""),
    (one("q", "less than", "9999-12-31T23:59:59-12:00"), 400, "the value for q does not fit"),
    (one("q", "equals", "10000-01-01T00:00:00Z"), 400, "the value for q does not fit"),
    (one("q", "equals", "0000-01-01T00:00:00Z"), 400, "the value for q does not fit"),
    (one("q", "equals", 253402300800000), 400, "the value for q does not fit"),
    (one("q", "equals", "infinity"), 400, "the value for q does not fit"),
    (one("r", "equals", ["2024-01-02", "2024-01-01"]), 400, "the value for r does not fit"),
    (one("n", "equals", "c"), 400, "the value for n does not fit: expected one of a, b"),
    (one("n", "equals", "a"), 200, ""),
    (one("user", "equals", "nobody"), 200, ""),
    (place(90, 180), 200, ""),
    (place(90.1, 0), 400, "the value for p does not fit"),
    (place(0, -180.1), 400, "the value for p does not fit"),
    (place("NaN", 0), 400, "the value for p does not fit"),
    (place(0, 0, -1), 400, "the value for p does not fit"),
    (place(0, 0, 1e300), 200, ""),
    (place(0, 0, 10**400), 400, ""),
    (place(1e-320, 1e-320, 1e-320), 200, ""),
    (one("p", "equals", {"lat": 91, "lng": 0}), 400, "the value for p does not fit"),
    ("sort_field=p&geo_reference=91,0", 400, "sorting by p needs geo_reference"),
    ("sort_field=n&descending=true", 200, ""),
    ("additional_sort_fields=" + quote('[{"sort_field": "o", "descending": 7}]'), 400, "additional_sort_fields"),
    (f"additional_sort_fields={quote(json.dumps([{'sort_field': 'o'}] * 101))}", 400, "of at most 100 items"),
)
VALUES: Final[tuple[tuple[bytes, int, str], ...]] = (
    (b'{"n": "a", "o": 9007199254740993, "user": null}', 201, ""),
    (b'{"n": "c"}', 400, "Invalid data for field n: expected one of a, b"),
    (b'{"n": ["a"]}', 400, "Invalid data for field n: expected text"),
    (b'{"o": 1' + b"0" * 400 + b"}", 400, "number is infinity when parsed as double"),
    (b'{"o": 1e999}', 400, ""),
    (b'{"o": "NaN"}', 400, "Invalid data for field o: expected a number"),
    (b'{"o": true}', 400, "Invalid data for field o: expected a number"),
    (b'{"q": "10000-01-01T00:00:00Z"}', 400, "Invalid data for field q: expected a date"),
    (b'{"q": "0000-12-31T00:00:00Z"}', 400, "Invalid data for field q"),
    (b'{"q": "0001-01-01T00:00:00+14:00"}', 400, "Invalid data for field q: the date is not between the years"),
    (b'{"q": "0001-01-01T00:00:00Z"}', 201, ""),
    (b'{"q": 1e18}', 400, "Invalid data for field q"),
    (b'{"q": -62135596800001}', 400, "Invalid data for field q"),
    (b'{"r": ["9999-12-31", "0001-01-01"]}', 400, "Invalid data for field r: a date range ends before it begins"),
    (b'{"r": ["0001-01-01", "9999-12-31T23:59:59.999Z"]}', 201, ""),
    (b'{"p": {"lat": 90.0000001, "lng": 0}}', 400, "Invalid data for field p: lat: expected a number from -90 to 90"),
    (b'{"p": {"lat": 0, "lng": 1e999}}', 400, ""),
    (b'{"p": {"lat": 5e-324, "lng": -180}}', 201, ""),
    (b'{"s": [["x"]]}', 400, "Invalid data for field s: item 0: expected text"),
    (b'{"s": ' + DEEP.encode() + b"}", 400, ""),
    (b'{"t": "\\ud800"}', 201, ""),
    (b'{"\\u0000": 1}', 400, "Unrecognized field"),
    (b'{"t\\u0000": 1}', 400, "Unrecognized field"),
    (b'{"t\\ud800": 1}', 400, "Unrecognized field"),
    (b'{"' + b"k" * 5_000 + b'": 1}', 400, "Unrecognized field"),
    (b'{"user": "x"}', 400, "Invalid data for field user: expected the id of a thing"),
    (b'{"user": {"_id": {"_id": "1x1"}}}', 400, "Invalid data for field user: expected the id of a thing"),
    (b'{"Slug": "' + b"s" * 5_000 + b'"}', 400, "a slug has fewer than 250 characters, not 5000"),
)


async def test_every_search_has_an_answer(ingress: Ingress) -> None:
    wrong = []
    for query, status, message in QUERIES:
        answer = await ingress.send("GET", f"{ROWS}?{query}", headers=ADMIN)
        if answer.status != status or message not in answer.body.decode(errors="replace"):
            wrong.append((query[:200], answer.status, answer.body[:300]))
        lines = await ingress.send("GET", f"{ROWS}?{query}", headers={**ADMIN, "Accept": "application/x-ndjson"})
        if lines.status not in {200, status}:
            wrong.append((f"lines: {query[:200]}", lines.status, lines.body[:300]))
    assert not wrong, "\n".join(map(str, wrong))


async def test_every_value_has_an_answer(ingress: Ingress) -> None:
    wrong = []
    for body, status, message in VALUES:
        headers = {**ADMIN, "Content-Type": "application/json"}
        answer = await ingress.send("POST", ROWS, data=body, headers=headers)
        if answer.status != status or message not in answer.body.decode():
            wrong.append((body[:100], answer.status, answer.body[:300]))
    assert not wrong, "\n".join(map(str, wrong))
    lines = b"\n".join(body for body, _, _ in VALUES)
    bulk = await ingress.send("POST", f"{ROWS}/bulk", data=lines, headers={**ADMIN, "Content-Type": "text/plain"})
    said = [json.loads(line)["status"] for line in bulk.body.split(b"\n")]
    assert said == ["success" if status == 201 else "error" for _, status, _ in VALUES]
