"""An app's data as admins look at it through the management API, whether or not the Data API serves it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast
from urllib.parse import quote

import pytest

from tests.integration.ingress import ADMIN, Answer, Ingress, running_ingress, write_app


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as running:
        lines = b"\n".join(json.dumps({"number": number, "name": f"n{number}"}).encode() for number in range(5))
        path, headers = "/api/1.1/obj/order/bulk", {**ADMIN, "Content-Type": "text/plain"}
        assert (await running.send("POST", path, data=lines, headers=headers)).status == 200
        yield running


async def look(ingress: Ingress, *constraints: object, more: str = "") -> Answer:
    return await ingress.manage("GET", f"/v1/live/data/order?constraints={quote(json.dumps(constraints))}{more}")


def numbers(answer: Answer) -> list[object]:
    assert answer.status == 200, answer.body
    return [thing["number"] for thing in cast("list[dict[str, object]]", answer.json["results"])]


def in_order(answer: Answer) -> bool:
    created = [str(thing["Created Date"]) for thing in cast("list[dict[str, object]]", answer.json["results"])]
    return created == sorted(created, reverse=True)


async def test_types_are_listed_with_what_a_search_may_ask_of_their_fields(ingress: Ingress) -> None:
    found = cast("list[dict[str, object]]", (await ingress.manage("GET", "/v1/live/data")).json["results"])
    by_name = {one["name"]: one for one in found}
    assert by_name.keys() >= {"order", "secret", "internal", "user"}
    assert by_name["internal"]["is_in_api"] is False
    fields = {str(one["name"]): one for one in cast("list[dict[str, object]]", by_name["order"]["fields"])}
    assert fields["number"]["type"] == "number"
    assert "greater than" in cast("list[str]", fields["number"]["constraints"])
    assert "_id" in fields


async def test_things_are_found_by_constraints_newest_first_page_by_page(ingress: Ingress) -> None:
    everything = await look(ingress)
    assert (sorted(map(str, numbers(everything))), in_order(everything)) == (list("01234"), True)
    large = {"key": "number", "constraint_type": "greater than", "value": 1}
    first = await look(ingress, large, more="&limit=2")
    rest = await look(ingress, large, more=f"&limit=2&after={first.json['after']}")
    assert sorted(map(str, [*numbers(first), *numbers(rest)])) == ["2", "3", "4"]
    assert (len(numbers(rest)), rest.json["after"]) == (1, None)


async def test_fields_that_the_privacy_rules_hide_are_shown_to_admins(ingress: Ingress) -> None:
    assert len(numbers(await look(ingress, {"key": "hidden", "constraint_type": "is_empty"}))) == 5


@pytest.mark.parametrize(
    "constraints", ["x", "{}", '[{"key": "nothing", "constraint_type": "equals", "value": 1}]', "[1]", '[{"key": 1}]']
)
async def test_constraints_that_make_no_sense_are_refused(ingress: Ingress, constraints: str) -> None:
    answer = await ingress.manage("GET", f"/v1/live/data/order?constraints={quote(constraints)}")
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json"), answer.body


async def test_nobody_without_sight_of_payloads_sees_things(ingress: Ingress) -> None:
    made = (await ingress.manage("POST", "/v1/live/tokens", json={"role": "admin", "payloads": False})).json
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert (await ingress.manage("GET", "/v1/live/data/order", headers=headers)).status == 403
    assert (await ingress.manage("GET", "/v1/live/data/nothing")).status == 404
