"""What the Data API does beyond Bubble's: writes that happen once, upserts, ETags, lists, things by the thousand."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.integration.ingress import ADMIN, Ingress, running_ingress

ORDERS = "/api/1.1/obj/order"
TYPES = """
type: order
api: true
fields: {number: text, shop: text, total: number, tags: list of text}
unique: [number, [shop, total]]
privacy:
  - everyone: {find: true, view: [number, tags], create: true, modify: false}
"""


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    (tmp_path / "types").mkdir()
    (tmp_path / "app.yaml").write_text("app: shop")
    (tmp_path / "types" / "all.yaml").write_text(TYPES)
    async with running_ingress(database_url, amqp_url, tmp_path) as running:
        yield running


async def make(ingress: Ingress, **values: object) -> str:
    answer = await ingress.send("POST", ORDERS, json=values, headers=ADMIN)
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


async def count(ingress: Ingress) -> object:
    return await ingress.fetchval("SELECT count(*) FROM live.order")


async def tags(ingress: Ingress, id: str) -> object:
    return await ingress.fetchval("SELECT tags FROM live.order WHERE _id = $1", id)


async def test_100_clients_that_upsert_one_unique_value_make_one_thing(ingress: Ingress) -> None:
    async def upsert(number: int) -> tuple[int, object]:
        body = {"number": "A-1", "total": number}
        answer = await ingress.send("POST", f"{ORDERS}?upsert=number", json=body, headers=ADMIN)
        return answer.status, answer.json["id"]

    answers = await asyncio.gather(*(upsert(number) for number in range(100)))
    assert await count(ingress) == 1
    assert len({id for _, id in answers}) == 1
    assert sorted(status for status, _ in answers) == [200] * 99 + [201]


async def test_an_upsert_changes_what_it_names_and_nothing_else(ingress: Ingress) -> None:
    id = await make(ingress, number="A-1", total=1, shop="x", tags=["a"])
    answer = await ingress.send(
        "POST", f"{ORDERS}?upsert=shop,total", json={"total": 1, "shop": "x", "tags": ["b"]}, headers=ADMIN
    )
    assert (answer.status, answer.json) == (200, {"status": "success", "id": id})
    assert await ingress.fetchval("SELECT number FROM live.order") == "A-1"
    assert await tags(ingress, id) == ["b"]
    answer = await ingress.send("POST", f"{ORDERS}?upsert=tags", json={"tags": ["b"]}, headers=ADMIN)
    assert answer.wrapped[:2] == (400, "INVALID_DATA")


async def test_an_upsert_of_somebody_who_may_only_create_does_not_change(ingress: Ingress) -> None:
    await make(ingress, number="A-1", total=1)
    assert (await ingress.send("POST", f"{ORDERS}?upsert=number", json={"number": "A-2"})).status == 201
    assert (await ingress.send("POST", f"{ORDERS}?upsert=number", json={"number": "A-1", "total": 5})).status == 401
    assert await ingress.fetchval("SELECT total FROM live.order WHERE number = 'A-1'") == 1


async def test_a_write_with_a_key_happens_once_and_is_answered_the_same(ingress: Ingress) -> None:
    headers = {**ADMIN, "Idempotency-Key": "k1"}

    async def create() -> tuple[int, bytes, str | None]:
        answer = await ingress.send("POST", ORDERS, json={"number": "A-1"}, headers=headers)
        return answer.status, answer.body, answer.headers.get("idempotent-replayed")

    answers = await asyncio.gather(*(create() for _ in range(20)))
    assert await count(ingress) == 1
    assert {(status, body) for status, body, _ in answers} == {answers[0][:2]}
    assert answers[0][0] == 201
    assert sorted(str(mark) for _, _, mark in answers) == ["None"] + ["true"] * 19
    other = await ingress.send("POST", ORDERS, json={"number": "A-2"}, headers=headers)
    assert other.status == 422


async def test_adding_to_a_list_with_a_key_is_done_once_and_a_refused_write_keeps_no_key(ingress: Ingress) -> None:
    id = await make(ingress, number="A-1", tags=["a"])
    headers = {**ADMIN, "Idempotency-Key": "k2"}
    for _ in range(2):
        answer = await ingress.send("PATCH", f"{ORDERS}/{id}?lists=add", json={"tags": ["b"]}, headers=headers)
        assert (answer.status, answer.body) == (204, b"")
        await ingress.send("PATCH", f"{ORDERS}/{id}?lists=remove", json={"tags": ["b"]}, headers=ADMIN)
    assert await tags(ingress, id) == ["a"]
    headers = {**ADMIN, "Idempotency-Key": "k3"}
    absent = f"{ORDERS}/1700000000000x1"
    assert [(await ingress.send("DELETE", absent, headers=headers)).status for _ in range(2)] == [404, 404]
    assert [(await ingress.send("DELETE", f"{ORDERS}/{id}", headers=headers)).status for _ in range(2)] == [204, 204]


async def test_many_clients_add_to_and_remove_from_one_list_and_lose_nothing(ingress: Ingress) -> None:
    id = await make(ingress, number="A-1", tags=["a", "z"])
    adding = [
        ingress.send("PATCH", f"{ORDERS}/{id}?lists=add", json={"tags": [f"t{n}", "a"]}, headers=ADMIN)
        for n in range(20)
    ]
    removing = ingress.send("PATCH", f"{ORDERS}/{id}?lists=remove", json={"tags": ["z"]}, headers=ADMIN)
    assert {answer.status for answer in await asyncio.gather(*adding, removing)} == {204}
    found = await tags(ingress, id)
    assert isinstance(found, list)
    assert sorted(found) == sorted(["a", *(f"t{n}" for n in range(20))])
    assert (await ingress.send("PATCH", f"{ORDERS}/{id}?lists=clear", json={}, headers=ADMIN)).status == 400


async def test_a_thing_that_has_changed_is_not_overwritten(ingress: Ingress) -> None:
    id = await make(ingress, number="A-1", total=1)
    etag = (await ingress.send("GET", f"{ORDERS}/{id}", headers=ADMIN)).headers["etag"]

    async def change(total: int) -> int:
        headers = {**ADMIN, "If-Match": f'"other", {etag}'}
        return (await ingress.send("PATCH", f"{ORDERS}/{id}", json={"total": total}, headers=headers)).status

    assert sorted(await asyncio.gather(*(change(total) for total in range(2, 12)))) == [204] + [412] * 9
    assert (await ingress.send("DELETE", f"{ORDERS}/{id}", headers={**ADMIN, "If-Match": etag})).status == 412
    fresh = (await ingress.send("GET", f"{ORDERS}/{id}", headers=ADMIN)).headers["etag"]
    assert fresh != etag
    assert (await ingress.send("DELETE", f"{ORDERS}/{id}", headers={**ADMIN, "If-Match": fresh})).status == 204
    assert (await ingress.send("DELETE", f"{ORDERS}/{id}", headers={**ADMIN, "If-Match": "*"})).status == 404


async def test_what_the_caller_does_not_see_does_not_change_the_etag(ingress: Ingress) -> None:
    id = await make(ingress, number="A-1", total=1)
    before = (await ingress.send("GET", f"{ORDERS}/{id}")).headers["etag"]
    await ingress.send("PATCH", f"{ORDERS}/{id}", json={"total": 2}, headers=ADMIN)
    assert (await ingress.send("GET", f"{ORDERS}/{id}")).headers["etag"] == before


async def test_things_are_changed_and_deleted_by_constraints_by_admins_only(ingress: Ingress) -> None:
    for number in range(5):
        await make(ingress, number=f"A-{number}", total=number)
    above = f"{ORDERS}?constraints=" + json.dumps([{"key": "total", "constraint_type": "greater than", "value": 2}])
    above = above.replace(" ", "%20").replace('"', "%22")
    changed = await ingress.send("PATCH", above, json={"shop": "x"}, headers=ADMIN)
    assert (changed.status, changed.json) == (200, {"status": "success", "count": 2})
    assert (await ingress.send("PATCH", above, json={"shop": "y"})).status == 401
    assert (await ingress.send("DELETE", ORDERS, headers=ADMIN)).status == 400
    assert (await ingress.send("PATCH", above, json={"number": "same"}, headers=ADMIN)).status == 400
    deleted = await ingress.send("DELETE", above, headers=ADMIN)
    assert deleted.json == {"status": "success", "count": 2}
    assert await count(ingress) == 3
    assert (await ingress.send("DELETE", f"{ORDERS}?constraints=[]", headers=ADMIN)).json["count"] == 3


async def test_all_things_are_streamed_as_lines_with_what_the_caller_may_see(ingress: Ingress) -> None:
    await ingress.fetchval(
        "INSERT INTO live.order (_id, created_date, modified_date, number, total) "
        "SELECT '1700000000000x' || n, now(), now(), 'A-' || n, n FROM generate_series(1, 2500) n"
    )
    answer = await ingress.send("GET", f"{ORDERS}?sort_field=number", headers={"Accept": "application/x-ndjson"})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert [line["number"] for line in lines] == sorted(f"A-{n}" for n in range(1, 2501))
    assert not any("total" in line for line in lines)
    refused = await ingress.send("GET", f"{ORDERS}?sort_field=nothing", headers={"Accept": "application/x-ndjson"})
    assert refused.status == 400


async def test_keys_are_those_of_their_callers(ingress: Ingress) -> None:
    key = str(uuid4())
    for headers in (ADMIN, {}):
        answer = await ingress.send("POST", ORDERS, json={"shop": "x"}, headers={**headers, "Idempotency-Key": key})
        assert answer.status == 201
    assert await count(ingress) == 2


async def test_pages_by_after_show_all_things_once(ingress: Ingress) -> None:
    await ingress.fetchval(
        "INSERT INTO live.order (_id, created_date, modified_date, number) "
        "SELECT '1700000000000x' || n, now(), now(), 'A-' || n FROM generate_series(1, 250) n"
    )
    seen: list[object] = []
    after: object = ""
    while after is not None:
        answer = await ingress.send("GET", f"{ORDERS}?sort_field=_id&after={after}", headers=ADMIN)
        page = answer.json["response"]
        assert isinstance(page, dict)
        assert "remaining" not in page
        seen += [thing["_id"] for thing in page["results"]]
        after = page["after"]
    assert (len(seen), len(set(map(str, seen)))) == (250, 250)
