"""The Data API's wire format, byte for byte where it is known (BUBBLE 2.1 to 2.5)."""

import json
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from urllib.parse import quote

import aiohttp
import pytest
from pydantic import JsonValue

from penstock.domain.ids import new_thing_id
from penstock.things.records import NewThing, create_things
from tests.factories import build_type
from tests.integration.ingress import ADMIN, Answer, Ingress, JsonObject, running_ingress

UNITS = "/api/1.1/obj/rentalunit"
TYPES = """
type: rentalunit
display: Rental Unit
api: true
fields:
  Unit name: text
  rooms: number
  paid: boolean
  built: date
  owner: user
  tags: list of text
  place: geographic address
unique: [Slug]
---
type: user
api: true
---
type: hidden
fields: {name: text}
"""
UNIT = build_type(
    "rentalunit",
    {
        "Unit name": "text", "rooms": "number", "paid": "boolean", "built": "date", "owner": "user",
        "tags": "list of text", "place": "geographic address",
    },
)  # fmt: skip
UID = re.compile(r"\d{13}x\d{15,18}")
ABSENT = "1700000000000x1"
MISSING = (
    b'{"statusCode":404,"body":{"status":"MISSING_DATA","message":"Missing object of type rentalunit: object with id '
    b'1700000000000x1 does not exist"}}'
)
UNFIT = (
    b'{"statusCode":404,"body":{"status":"NOT_FOUND","message":"Constraint type not found contains for field '
    b'unit_name_text and type rentalunit"}}'
)


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    for name, content in {"app.yaml": "app: rentals", "types/all.yaml": TYPES}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    async with running_ingress(database_url, amqp_url, tmp_path) as running:
        yield running


async def store(ingress: Ingress, *values: dict[str, JsonValue]) -> list[str]:
    """The ids of units with these values, in this order."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    things = [
        NewThing(new_thing_id(), value, created_at=began + timedelta(seconds=position))
        for position, value in enumerate(values)
    ]
    async with ingress.database.connection() as conn:
        await create_things(conn, environment="live", data_type=UNIT, things=things)
    return [thing.id for thing in things]


async def make(ingress: Ingress, values: object) -> str:
    answer = await ingress.send("POST", UNITS, json=values, headers=ADMIN)
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


async def show(ingress: Ingress, id: str) -> JsonObject:
    answer = await ingress.send("GET", f"{UNITS}/{id}", headers=ADMIN)
    assert answer.status == 200, answer.body
    return cast("JsonObject", answer.json["response"])


async def ask(ingress: Ingress, query: str) -> JsonObject:
    answer = await ingress.send("GET", f"{UNITS}?{query}", headers=ADMIN)
    assert answer.status == 200, answer.body
    return cast("JsonObject", answer.json["response"])


def numbers(response: JsonObject) -> list[object]:
    return [unit.get("rooms") for unit in cast("list[JsonObject]", response["results"])]


def constraints(*listed: Sequence[object]) -> str:
    shapes = [dict(zip(("key", "constraint_type", "value"), one, strict=False)) for one in listed]
    return f"constraints={quote(json.dumps(shapes))}"


def flat(answer: Answer) -> str:
    """The translation of the flat envelope, whose other members are always the same."""
    assert answer.json.keys() == {"error_class", "args", "message", "translation"}
    assert (answer.json["error_class"], answer.json["message"]) == ("Unauthorized", None)
    assert UID.fullmatch(cast("dict[str, str]", answer.json["args"])["code"])
    return str(answer.json["translation"])


async def test_create_byte_for_byte(ingress: Ingress) -> None:
    answer = await ingress.send("POST", UNITS, json={"Unit name": "A"}, headers=ADMIN)
    id = str(answer.json["id"])
    assert UID.fullmatch(id)
    assert (answer.status, answer.body) == (201, f'{{"status":"success","id":"{id}"}}'.encode())
    assert answer.headers["content-type"] == "application/json"
    unit = await show(ingress, id)
    assert unit.keys() == {"_id", "Unit name", "Created Date", "Modified Date", "Created By"}
    assert unit["Created By"] == "admin_user_rentals_live"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(unit["Created Date"]))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"rooms": "3", "paid": "yes"}, {"rooms": 3, "paid": True}),
        ({"unitname": "A", "tags_list_text": ["x"]}, {"Unit name": "A", "tags": ["x"]}),
        ({"unit_name_text": "A", "paid_boolean": "False"}, {"Unit name": "A", "paid": False}),
        ({"built": "2024-01-02T00:00:00.000000Z"}, {"built": "2024-01-02T00:00:00.000Z"}),
        ({"built": 1453398788637}, {"built": "2016-01-21T17:53:08.637Z"}),
        ({"place": "Paris"}, {"place": {"address": "Paris"}}),
        ({"Unit name": "", "tags": [], "rooms": None, "paid": ""}, {}),
    ],
)
async def test_values_are_taken_as_clients_send_them_and_empty_ones_left_out(
    ingress: Ingress, given: JsonObject, shown: JsonObject
) -> None:
    unit = await show(ingress, await make(ingress, given))
    built_in = ("_id", "Created Date", "Modified Date", "Created By")
    assert {name: value for name, value in unit.items() if name not in built_in} == shown


async def test_modify_replace_and_delete_are_204_without_a_body(ingress: Ingress) -> None:
    id = await make(ingress, {"Unit name": "A", "rooms": 3, "tags": ["x", "y"]})
    created = await show(ingress, id)
    for method, values, left in (
        ("PATCH", {"rooms": 4, "tags": ["z"]}, {"Unit name": "A", "rooms": 4, "tags": ["z"]}),
        ("PATCH", {"rooms": None}, {"Unit name": "A", "tags": ["z"]}),
        ("PUT", {"rooms": 5}, {"rooms": 5}),
        ("PUT", {}, {}),
    ):
        answer = await ingress.send(method, f"{UNITS}/{id}", json=values, headers=ADMIN)
        assert (answer.status, answer.body) == (204, b"")
        assert "content-type" not in answer.headers
        unit = await show(ingress, id)
        assert unit.items() >= left.items()
        assert unit.keys() == {"_id", "Created Date", "Modified Date", "Created By", *left}
        assert (unit["_id"], unit["Created Date"]) == (id, created["Created Date"])
        assert str(unit["Modified Date"]) > str(created["Modified Date"])
    gone = await ingress.send("DELETE", f"{UNITS}/{id}", headers=ADMIN)
    assert (gone.status, gone.body) == (204, b"")
    assert (await ingress.send("GET", f"{UNITS}/{id}", headers=ADMIN)).status == 404


async def test_an_absent_thing_byte_for_byte(ingress: Ingress) -> None:
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        sent: object = {} if method in {"PATCH", "PUT"} else None
        answer = await ingress.send(method, f"{UNITS}/{ABSENT}", json=sent, headers=ADMIN)
        assert (answer.status, answer.body) == (404, MISSING)


@pytest.mark.parametrize("field", ["colour", "_id", "Created Date", "Modified Date", "Created By", "'; DROP TABLE --"])
async def test_an_unknown_field_byte_for_byte(ingress: Ingress, field: str) -> None:
    id = await make(ingress, {})
    message = json.dumps(f"Unrecognized field: {field}")
    body = f'{{"statusCode":400,"body":{{"status":"ERROR","message":{message}}}}}'.encode()
    for method, path in (("POST", UNITS), ("PATCH", f"{UNITS}/{id}"), ("PUT", f"{UNITS}/{id}")):
        answer = await ingress.send(method, path, json={field: "2020-01-01"}, headers=ADMIN)
        assert (answer.status, answer.body) == (400, body)


async def test_values_that_do_not_fit_are_invalid_data(ingress: Ingress) -> None:
    id = await make(ingress, {})
    for values in ({"rooms": "many"}, {"paid": 7}, {"built": "soon"}, {"tags": 5}, {"place": {"lat": 1}}):
        for method, path in (("POST", UNITS), ("PATCH", f"{UNITS}/{id}")):
            answer = await ingress.send(method, path, json=values, headers=ADMIN)
            assert (answer.status, answer.wrapped[1]) == (400, "INVALID_DATA"), values
    for body in (b"{", b"[]", b"5", b"\xff"):
        headers = {**ADMIN, "Content-Type": "application/json"}
        answer = await ingress.send("POST", UNITS, data=body, headers=headers)
        assert (answer.status, answer.wrapped[:2]) == (400, (400, "ERROR"))


async def test_what_is_not_granted_is_401_in_the_flat_envelope(ingress: Ingress) -> None:
    id = await make(ingress, {"Unit name": "A"})
    modify, delete = (f"You do not have permission to {verb} this object" for verb in ("modify", "delete"))
    for method, path, translation in (
        ("POST", UNITS, "Permission denied: cannot create this object"),
        ("PATCH", f"{UNITS}/{id}", modify),
        ("PUT", f"{UNITS}/{id}", modify),
        ("DELETE", f"{UNITS}/{id}", delete),
    ):
        answer = await ingress.send(method, path, json=None if method == "DELETE" else {})
        assert (answer.status, flat(answer)) == (401, translation)
    assert (await show(ingress, id))["Unit name"] == "A"


async def test_types_by_other_names_and_those_that_are_not_there(ingress: Ingress) -> None:
    for name in ("RentalUnit", "rental%20unit", "RENTALUNIT", "Rental%20Unit"):
        assert (await ingress.send("GET", f"/api/1.1/obj/{name}", headers=ADMIN)).status == 200
    for name in ("hidden", "nothing"):
        for method in ("GET", "POST"):
            answer = await ingress.send(method, f"/api/1.1/obj/{name}", json=None if method == "GET" else {})
            assert (answer.status, answer.wrapped[:2]) == (404, (404, "NOT_FOUND"))


async def test_no_data_api_byte_for_byte(database_url: str, amqp_url: str, tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text("app: nothing")
    async with running_ingress(database_url, amqp_url, tmp_path) as ingress:
        answer = await ingress.send("GET", UNITS)
        assert (answer.status, answer.body) == (
            404,
            b'{"statusCode":404,"body":{"status":"NOT_FOUND","message":"This application does not expose a Data API"}}',
        )


async def test_a_constraint_type_that_does_not_fit_byte_for_byte(ingress: Ingress) -> None:
    answer = await ingress.send("GET", f"{UNITS}?{constraints(('Unit name', 'contains', 'x'))}", headers=ADMIN)
    assert (answer.status, answer.body) == (404, UNFIT)


async def test_a_page_byte_for_byte(ingress: Ingress) -> None:
    assert (await ingress.send("GET", UNITS, headers=ADMIN)).body == (
        b'{"response":{"cursor":0,"results":[],"count":0,"remaining":0}}'
    )
    (id,) = await store(ingress, {"rooms": 1})
    excluded = await ingress.send("GET", f"{UNITS}?limit=-1&exclude_remaining=true", headers=ADMIN)
    assert excluded.body == b'{"response":{"cursor":0,"results":[],"count":-1}}'
    assert (await ask(ingress, "cursor=50000"))["results"] == []
    assert (await ask(ingress, "limit=1"))["count"] == 1
    assert (await show(ingress, id))["rooms"] == 1


async def test_cursor_limit_and_remaining(ingress: Ingress) -> None:
    units: list[dict[str, JsonValue]] = [{"rooms": number} for number in range(7)]
    await store(ingress, *units)
    page = await ask(ingress, "cursor=2&limit=3")
    assert (page["cursor"], page["count"], page["remaining"], numbers(page)) == (2, 3, 2, [2, 3, 4])
    beyond = await ask(ingress, "cursor=9")
    assert (beyond["cursor"], beyond["count"], beyond["remaining"]) == (9, 0, 0)


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ([("rooms", "greater than", "1")], [2, 3]),
        ([("rooms_number", "less than", "2")], [1]),
        ([("Rooms", "in", ["1", "3", "9"])], [1, 3]),
        ([("rooms", "not in", [1])], [2, 3, None]),
        ([("rooms", "is_empty")], [None]),
        ([("rooms", "is_not_empty", "x"), ("paid", "equals", "True")], [1]),
        ([("unit_name_text", "text contains", "pepper")], [1]),
        ([("unitname", "text contains", "pepp")], []),
        ([("unitname", "not text contains", "peppers")], [2, 3, None]),
        ([("tags", "contains", "x")], [1]),
        ([("tags", "not contains", "x")], [2, 3, None]),
        ([("tags", "empty")], [3, None]),
        ([("tags", "not empty")], [1, 2]),
        ([("createddate", "greater than", "2001-01-01T00:00:00.000000Z")], [1, 2, 3, None]),
        ([("_id", "in", [])], []),
        ([("_id", "equals", "nothing of the kind")], []),
        ([("place", "geographic_search", {"range": 10, "origin_address": {"lat": 48.9, "lng": 2.35}})], [1]),
        ([("place", "geographic_search", {"range": "400", "unit": "km", "origin_address": "48.85, 2.35"})], [1, 2]),
    ],
)
async def test_constraints(ingress: Ingress, listed: Sequence[Sequence[object]], found: list[object]) -> None:
    paris: JsonValue = {"lat": 48.8566, "lng": 2.3522}
    london: JsonValue = {"lat": 51.5074, "lng": -0.1278}
    await store(
        ingress,
        {"rooms": 1, "paid": True, "Unit name": "red hot peppers", "tags": ["x", "y"], "place": paris},
        {"rooms": 2, "paid": False, "tags": ["y"], "place": london},
        {"rooms": 3, "place": {"address": "nowhere"}},
        {},
    )
    assert numbers(await ask(ingress, constraints(*listed))) == found


async def test_orders(ingress: Ingress) -> None:
    rows: list[dict[str, JsonValue]] = [
        {"rooms": 1, "Unit name": "b", "place": {"lat": 10, "lng": 0}},
        {"rooms": 2, "Unit name": "a", "place": {"lat": 1, "lng": 0}},
        {"rooms": 3, "Unit name": "b"},
        {"rooms": 4, "place": {"lat": -5, "lng": 0}},
    ]
    await store(ingress, *rows)
    further = quote(json.dumps([{"sort_field": "rooms", "descending": "true"}]))
    for query, order in (
        ("", [1, 2, 3, 4]),
        ("descending=true", [4, 3, 2, 1]),
        ("sort_field=rooms&descending=true", [4, 3, 2, 1]),
        ("sort_field=rooms_number&geo_reference=", [1, 2, 3, 4]),
        (f"sort_field=Unit%20name&additional_sort_fields={further}", [2, 3, 1, 4]),
        ("sort_field=place&geo_reference=0,0", [2, 4, 1, 3]),
        (f"sort_field=place&descending=true&geo_reference={quote(json.dumps({'lat': 0, 'lng': 0}))}", [1, 4, 2, 3]),
    ):
        assert numbers(await ask(ingress, query)) == order, query
    shuffled = {tuple(numbers(await ask(ingress, "sort_field=_random_sorting"))) for _ in range(20)}
    assert len(shuffled) > 1
    assert {tuple(sorted(cast("list[int]", order))) for order in shuffled} == {(1, 2, 3, 4)}
    assert (await ingress.send("GET", f"{UNITS}?sort_field=place&geo_reference=Paris", headers=ADMIN)).status == 400


async def test_users_need_an_email(ingress: Ingress) -> None:
    answer = await ingress.send("POST", "/api/1.1/obj/user", json={}, headers=ADMIN)
    assert (answer.status, answer.wrapped[:2]) == (400, (400, "MISSING_DATA"))
    made = await ingress.send("POST", "/api/1.1/obj/user", json={"email": "ada@example.com"}, headers=ADMIN)
    assert (made.status, list(made.json)) == (201, ["status", "id"])


async def test_forms_are_taken_too_and_other_bodies_are_not(ingress: Ingress) -> None:
    form = await ingress.send("POST", UNITS, data=aiohttp.FormData({"rooms": "3", "paid": "true"}), headers=ADMIN)
    assert form.status == 201
    assert (await show(ingress, str(form.json["id"])))["rooms"] == 3
    answer = await ingress.send("POST", UNITS, data=b"<a/>", headers={**ADMIN, "Content-Type": "text/xml"})
    assert (answer.status, answer.wrapped[1]) == (400, "ERROR")


async def test_browsers_of_other_origins_may_change_things(ingress: Ingress) -> None:
    answer = await ingress.send("OPTIONS", f"{UNITS}/{ABSENT}")
    assert answer.status == 204
    assert {"PATCH", "PUT", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))


async def test_a_wrong_token_comes_before_everything(ingress: Ingress) -> None:
    wrong = {"Authorization": "Bearer nobody-has-this-token"}
    for method, path in (("GET", "/api/1.1/obj/nothing"), ("POST", UNITS), ("DELETE", f"{UNITS}/{ABSENT}")):
        answer = await ingress.send(method, path, headers=wrong)
        assert (answer.status, flat(answer)) == (401, "Invalid or expired token: nobody-has-this-token")


async def test_other_methods_are_not_allowed(ingress: Ingress) -> None:
    for method, path in (("PUT", UNITS), ("POST", f"{UNITS}/{ABSENT}"), ("GET", f"{UNITS}/bulk")):
        assert (await ingress.send(method, path, headers=ADMIN)).status == 405


async def test_answers_name_fields_by_their_ids_where_that_is_wanted(
    database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    (tmp_path / "types").mkdir()
    (tmp_path / "app.yaml").write_text("app: rentals")
    (tmp_path / "types/all.yaml").write_text(TYPES)
    async with running_ingress(database_url, amqp_url, tmp_path, data_api_keys="id") as ingress:
        (id,) = await store(ingress, {"Unit name": "A", "tags": ["x"], "rooms": 1})
        own = {"_id", "Created Date", "Modified Date", "unit_name_text", "tags_list_text", "rooms_number"}
        assert (await show(ingress, id)).keys() == own
        (listed,) = cast("list[JsonObject]", (await ask(ingress, "sort_field=rooms_number"))["results"])
        assert listed.keys() == own
        meta = (await ingress.send("GET", "/api/1.1/meta")).json
        assert cast("JsonObject", meta["app_data"])["use_captions_for_get"] is False
