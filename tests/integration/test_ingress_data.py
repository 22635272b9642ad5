"""The Data API over real HTTP: pages, constraints and orders as Bubble's clients send them, under privacy rules."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast
from urllib.parse import quote

import pytest
from pydantic import JsonValue

from penstock.domain.ids import new_thing_id
from penstock.reading.loader import load_app
from penstock.things.records import NewThing, create_things
from tests.integration.ingress import ADMIN, Answer, Ingress, running_ingress, write_app

ORDERS = "/api/1.1/obj/order"


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as running:
        yield running


@pytest.fixture
async def ids(ingress: Ingress, tmp_path: Path) -> list[str]:
    """120 orders, in the order in which they were made."""
    ids = [new_thing_id() for _ in range(120)]
    values: list[dict[str, JsonValue]] = [
        {"number": number, "name": f"order {number % 3}", "tags": [f"t{number % 2}"], "hidden": f"secret {number}"}
        for number in range(120)
    ]
    await store(ingress, tmp_path, "order", [NewThing(id, value) for id, value in zip(ids, values, strict=True)])
    return ids


async def store(ingress: Ingress, directory: Path, type_name: str, things: list[NewThing]) -> None:
    app = load_app(directory).app
    assert app is not None
    async with ingress.database.connection() as conn:
        await create_things(conn, environment="live", data_type=app.types[type_name], things=things)


def page(answer: Answer) -> dict[str, object]:
    assert answer.status == 200, answer.body
    return cast("dict[str, object]", answer.json["response"])


def results(answer: Answer) -> list[dict[str, object]]:
    return cast("list[dict[str, object]]", page(answer)["results"])


def where(*constraints: tuple[str, str, object]) -> str:
    listed = [{"key": key, "constraint_type": kind, "value": value} for key, kind, value in constraints]
    return f"constraints={quote(json.dumps(listed))}"


async def test_a_page_holds_at_most_100_things_whatever_is_asked_for(ingress: Ingress, ids: list[str]) -> None:
    for query in ("", "?limit=1000", "?limit=2147483647"):
        first = page(await ingress.send("GET", ORDERS + query))
        assert (first["cursor"], first["count"], first["remaining"]) == (0, 100, 20)
    rest = page(await ingress.send("GET", f"{ORDERS}?cursor=100"))
    assert (rest["cursor"], rest["count"], rest["remaining"]) == (100, 20, 0)
    assert page(await ingress.send("GET", f"{ORDERS}?limit=-1"))["count"] == -1
    assert "remaining" not in page(await ingress.send("GET", f"{ORDERS}?exclude_remaining=true"))


async def test_things_show_what_the_rule_for_everyone_allows_and_admins_see_all(
    ingress: Ingress, ids: list[str]
) -> None:
    public = results(await ingress.send("GET", f"{ORDERS}?limit=1&sort_field=number"))[0]
    assert public.keys() == {"_id", "number", "name", "tags"}
    admin = results(await ingress.send("GET", f"{ORDERS}?limit=1&sort_field=number", headers=ADMIN))[0]
    assert admin.keys() >= {"_id", "number", "name", "tags", "hidden", "Created Date", "Modified Date"}


async def test_constraints_and_order(ingress: Ingress, ids: list[str]) -> None:
    query = where(("number", "greater than", "100"), ("name", "equals", "order 1"))
    found = results(await ingress.send("GET", f"{ORDERS}?{query}&sort_field=Number&descending=True"))
    assert [order["number"] for order in found] == [118, 115, 112, 109, 106, 103]
    query = where(("_id", "in", [ids[3], ids[5], "1x1"]))
    further = quote(json.dumps([{"sort_field": "number", "descending": "true"}]))
    found = results(await ingress.send("GET", f"{ORDERS}?{query}&sort_field=name&additional_sort_fields={further}"))
    assert [order["number"] for order in found] == [3, 5]
    assert results(await ingress.send("GET", f"{ORDERS}?{where(('_id', 'in', []))}")) == []


async def test_what_cannot_be_seen_can_neither_be_asked_for_nor_sorted_by(ingress: Ingress, ids: list[str]) -> None:
    query = where(("hidden", "equals", "secret 5"))
    for hidden in (query, "sort_field=hidden", where(("hidden_text", "is_empty", None))):
        answer = await ingress.send("GET", f"{ORDERS}?{hidden}")
        assert (answer.status, answer.wrapped[1]) == (400, "ERROR")
        assert "The field hidden of type order is hidden here by privacy rules" in answer.wrapped[2]
    assert page(await ingress.send("GET", f"{ORDERS}?{query}", headers=ADMIN))["count"] == 1


async def test_hidden_constraints_are_dropped_where_that_is_wanted_as_bubble_does(
    database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    app = write_app(tmp_path)
    async with running_ingress(database_url, amqp_url, app, hidden_constraints="drop") as ingress:
        await store(ingress, tmp_path, "order", [NewThing("1x1", {"hidden": "b"}), NewThing("1x2", {"hidden": "a"})])
        query = where(("hidden", "equals", "a"))
        found = results(await ingress.send("GET", f"{ORDERS}?{query}&sort_field=hidden"))
        assert [order["_id"] for order in found] == ["1x1", "1x2"]


async def test_what_cannot_be_understood_is_told_in_bubbles_words(ingress: Ingress, ids: list[str]) -> None:
    unfit = await ingress.send("GET", f"{ORDERS}?{where(('number', 'contains', 1))}")
    message = "Constraint type not found contains for field number_number and type order"
    assert (unfit.status, unfit.wrapped) == (404, (404, "NOT_FOUND", message))
    unknown = await ingress.send("GET", f"{ORDERS}?{where(('colour', 'equals', 1))}")
    assert (unknown.status, unknown.wrapped) == (400, (400, "ERROR", "Unrecognized field: colour"))
    for query in ("constraints=nonsense", "limit=many", where(("number", "equals", "many"))):
        assert (await ingress.send("GET", f"{ORDERS}?{query}")).status == 400
    assert results(await ingress.send("GET", f"{ORDERS}?{where(('name', 'equals', 'a' + chr(0)))}")) == []


async def test_one_thing_by_its_id(ingress: Ingress, ids: list[str]) -> None:
    thing = page(await ingress.send("GET", f"{ORDERS}/{ids[7]}"))
    assert thing == {"_id": ids[7], "number": 7, "name": "order 1", "tags": ["t1"]}
    for unknown in ("1700000000000x1", "%00", "nonsense"):
        answer = await ingress.send("GET", f"{ORDERS}/{unknown}")
        assert (answer.status, answer.wrapped[1]) == (404, "MISSING_DATA")
    answer = await ingress.send("GET", f"{ORDERS}/1x1")
    assert answer.wrapped[2] == "Missing object of type order: object with id 1x1 does not exist"


async def test_types_are_found_whatever_their_case_and_spaces_but_only_if_they_are_in_the_api(
    ingress: Ingress, ids: list[str]
) -> None:
    assert page(await ingress.send("GET", "/api/1.1/obj/Order"))["count"] == 100
    assert page(await ingress.send("GET", "/api/1.1/obj/OR%20DER"))["count"] == 100
    for name in ("internal", "nothing", "%20"):
        answer = await ingress.send("GET", f"/api/1.1/obj/{name}")
        assert (answer.status, answer.wrapped[1]) == (404, "NOT_FOUND")


async def test_environments_do_not_share_things(ingress: Ingress, ids: list[str]) -> None:
    assert page(await ingress.send("GET", f"/version-test{ORDERS}"))["count"] == 0
