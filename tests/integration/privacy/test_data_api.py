"""Privacy rules over the Data API, for users with a token, strangers and admins."""

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import cast
from urllib.parse import quote

import pytest

from penstock.things.records import create_things
from tests.integration.ingress import ADMIN, Ingress, JsonObject, running_ingress
from tests.integration.privacy.documents import ADA, BOB, DOCUMENT, DOCUMENTS, EVE

PATH = "/api/1.1/obj/document"
TYPES = """
type: user
fields: {team: text}
---
type: document
api: true
fields: {title: text, size: number, team: text, owner: user, members: list of user, spot: geographic address}
privacy:
  - name: creator
    when: {created_by: "${user._id}"}
    find: true
    view: all
    modify: true
    delete: true
    create: true
  - name: member
    when: [{key: members, constraint_type: contains, value: "${user._id}"}]
    find: true
    view: [title]
    modify: true
  - name: of the red team
    users: user.team == 'red'
    find: true
    view: [size]
  - everyone: {find: false, view: [team]}
"""
PEOPLE = {ADA: "red", BOB: "blue", EVE: None}


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    for name, content in {"app.yaml": "app: docs", "types/all.yaml": TYPES, "workflows/none.yaml": ""}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    async with running_ingress(database_url, amqp_url, tmp_path) as running:
        async with running.database.connection() as conn:
            for id, team in PEOPLE.items():
                await conn.execute(
                    """
                    INSERT INTO live."user" (_id, created_date, modified_date, email, team)
                    VALUES ($1, now(), now(), $1 || '@example.com', $2)
                    """,
                    id,
                    team,
                )
            await create_things(conn, environment="live", data_type=DOCUMENT, things=DOCUMENTS)
        yield running


async def bearer(ingress: Ingress, user: str | None) -> dict[str, str]:
    """The headers of a user, or none for a stranger."""
    if user is None:
        return {}
    made = await ingress.manage("POST", "/v1/live/tokens", json={"user": user})
    assert made.status == 201, made.body
    return {"Authorization": f"Bearer {made.json['token']}"}


async def found(ingress: Ingress, headers: Mapping[str, str], query: str = "") -> list[JsonObject]:
    answer = await ingress.send("GET", f"{PATH}?sort_field=_id&{query}", headers=dict(headers))
    assert answer.status == 200, answer.body
    response = cast("JsonObject", answer.json["response"])
    results = cast("list[JsonObject]", response["results"])
    assert response["count"] == len(results)
    assert response["remaining"] == 0
    return [{name: value for name, value in thing.items() if name != "_id"} for thing in results]


async def test_users_see_what_the_rules_that_hold_for_a_thing_grant_together(ingress: Ingress) -> None:
    ada, bob, eve = [await bearer(ingress, user) for user in PEOPLE]
    of_ada = await found(ingress, ada)
    assert [thing.get("title") for thing in of_ada] == ["plan", None, None, "list", None, None]
    assert [thing.get("size") for thing in of_ada] == [3, 1, 2, None, 2, 5]
    assert of_ada[0].keys() >= {"team", "owner", "members", "Created By"}
    assert of_ada[1] == {"size": 1}
    assert [thing.get("title") for thing in await found(ingress, bob)] == ["plan", "plan", "list", "draft"]
    assert await found(ingress, eve) == [{"title": "note"}]
    assert await found(ingress, {}) == []
    assert len(await found(ingress, ADMIN)) == len(DOCUMENTS)


async def test_what_may_not_be_found_does_not_exist(ingress: Ingress) -> None:
    eve = await bearer(ingress, EVE)
    hidden, unknown = DOCUMENTS[0].id, "1700000000000x1"
    for headers in (eve, {}):
        answers = [await ingress.send("GET", f"{PATH}/{id}", headers=headers) for id in (hidden, unknown)]
        assert {answer.status for answer in answers} == {404}
        first, second = (
            answer.body.replace(id.encode(), b"") for answer, id in zip(answers, (hidden, unknown), strict=True)
        )
        assert first == second
    own = await ingress.send("GET", f"{PATH}/{DOCUMENTS[2].id}", headers=eve)
    assert own.json == {"response": {"_id": DOCUMENTS[2].id, "title": "note"}}


async def test_a_constraint_finds_nothing_that_the_caller_may_not_see_it_by(ingress: Ingress) -> None:
    bob = await bearer(ingress, BOB)
    sized = quote(json.dumps([{"key": "size", "constraint_type": "not equal", "value": 99}]))
    assert [thing.get("size") for thing in await found(ingress, bob, f"constraints={sized}")] == [1, 5]
    eve = await bearer(ingress, EVE)
    team = quote(json.dumps([{"key": "team", "constraint_type": "equals", "value": "red"}]))
    assert await found(ingress, eve, f"constraints={team}") == []
    stranger = await ingress.send("GET", f"{PATH}?constraints={sized}")
    assert stranger.status == 400
    assert b"99" not in stranger.body


async def test_the_token_of_a_deleted_user_is_nobodys(ingress: Ingress) -> None:
    ada = await bearer(ingress, ADA)
    async with ingress.database.connection() as conn:
        await conn.execute("DELETE FROM live.user WHERE _id = $1", ADA)
    assert (await ingress.send("GET", PATH, headers=ada)).status == 401


async def try_all(ingress: Ingress, headers: Mapping[str, str], id: str) -> list[int]:
    """The statuses of a change, a replacement and a deletion."""
    return [
        (await ingress.send("PATCH", f"{PATH}/{id}", json={"size": 7}, headers=dict(headers))).status,
        (await ingress.send("PUT", f"{PATH}/{id}", json={"size": 8}, headers=dict(headers))).status,
        (await ingress.send("DELETE", f"{PATH}/{id}", headers=dict(headers))).status,
    ]


async def test_things_are_changed_and_deleted_by_those_whom_a_rule_lets(ingress: Ingress) -> None:
    ada, bob, eve = [await bearer(ingress, user) for user in PEOPLE]
    plan, note = DOCUMENTS[0].id, DOCUMENTS[2].id
    assert await try_all(ingress, {}, plan) == [404] * 3
    assert await try_all(ingress, eve, plan) == [404] * 3
    assert await try_all(ingress, ada, DOCUMENTS[1].id) == [401] * 3
    size = {"size": 7, "members": [ADA, BOB]}
    assert (await ingress.send("PATCH", f"{PATH}/{plan}", json=size, headers=bob)).status == 204
    assert (await ingress.send("DELETE", f"{PATH}/{plan}", headers=bob)).status == 401
    assert (await ingress.send("PATCH", f"{PATH}/{note}", json={"title": "new"}, headers=eve)).status == 204
    assert await try_all(ingress, ada, plan) == [204] * 3
    assert await ingress.fetchval("SELECT title FROM live.document WHERE _id = $1", note) == "new"


async def test_nobody_changes_a_thing_into_one_that_they_may_not_change(ingress: Ingress) -> None:
    bob = await bearer(ingress, BOB)
    plan = DOCUMENTS[0].id
    for method, values in (("PATCH", {"members": [ADA]}), ("PUT", {"title": "mine"})):
        answer = await ingress.send(method, f"{PATH}/{plan}", json=values, headers=bob)
        assert (answer.status, answer.json["translation"]) == (401, "You do not have permission to modify this object")
    row = (await ingress.fetch("SELECT title, members FROM live.document WHERE _id = $1", plan))[0]
    assert (row["title"], row["members"]) == ("plan", [ADA, BOB])


async def test_things_are_created_by_those_whom_a_rule_lets(ingress: Ingress) -> None:
    bob = await bearer(ingress, BOB)
    made = await ingress.send("POST", PATH, json={"title": "own"}, headers=bob)
    assert made.status == 201
    creator = await ingress.fetchval("SELECT created_by FROM live.document WHERE _id = $1", made.json["id"])
    assert creator == BOB
    assert (await ingress.send("POST", PATH, json={"title": "other"})).status == 401
    lines = b'{"title":"one"}\n{"title":"two"}'
    bulk = await ingress.send("POST", f"{PATH}/bulk", data=lines, headers={**bob, "Content-Type": "text/plain"})
    assert bulk.body.count(b"success") == 2
    refused = await ingress.send("POST", f"{PATH}/bulk", data=lines, headers={"Content-Type": "text/plain"})
    assert refused.body.count(b"Permission denied") == 2
    assert await ingress.fetchval("SELECT count(*) FROM live.document") == len(DOCUMENTS) + 3


async def test_what_a_token_does_not_reach_is_judged_by_the_rules(ingress: Ingress) -> None:
    id = DOCUMENTS[0].id
    for role, types, statuses in (
        ("operator", None, [204] * 3),
        ("viewer", None, [401] * 3),
        ("admin", ["user"], [404] * 3),
    ):
        made = await ingress.manage("POST", "/v1/live/tokens", json={"role": role, "types": types})
        assert made.status == 201, made.body
        headers = {"Authorization": f"Bearer {made.json['token']}"}
        if role == "operator":
            extra = await ingress.send("POST", PATH, json={}, headers=headers)
            assert await try_all(ingress, headers, str(extra.json["id"])) == statuses
        else:
            assert await try_all(ingress, headers, id) == statuses


async def test_values_that_occur_twice_show_nothing_that_is_hidden(ingress: Ingress) -> None:
    bob = await bearer(ingress, BOB)
    await ingress.fetch("ALTER TABLE live.document ADD CONSTRAINT once UNIQUE (team, title)")
    plan, other = DOCUMENTS[0].id, DOCUMENTS[3].id
    assert other != plan
    answer = await ingress.send("PATCH", f"{PATH}/{other}", json={"title": "plan"}, headers=bob)
    assert (answer.status, answer.wrapped[1]) == (400, "ERROR")
    assert answer.wrapped[2] == "The values are not unique: Key (team, title) already exists."


INJECTIONS = (
    "'", '"', "'; DROP TABLE live.document; --", '"; DROP TABLE live.document; --', "$1", "%s", "title) OR (true",
    "title\" OR true --", "\\", "*", "1=1", "pg_sleep(5)", "\u0000", "_id\n", "${user._id}", "'||(SELECT 1)||'",
)  # fmt: skip


def hostile_queries(text: str) -> list[str]:
    """Searches with this text in every place of a name or a value."""
    constraints = (
        {"key": text, "constraint_type": "equals", "value": "x"},
        {"key": "title", "constraint_type": text, "value": "x"},
        {"key": "title", "constraint_type": "text contains", "value": text},
        {"key": "title", "constraint_type": "in", "value": [text]},
        {"key": "size", "constraint_type": "equals", "value": text},
        {"key": "owner", "constraint_type": "equals", "value": text},
        {"key": "members", "constraint_type": "contains", "value": text},
    )
    encoded, further = quote(text), quote(json.dumps([{"sort_field": text}]))
    return [
        *(f"constraints={quote(json.dumps([constraint]))}" for constraint in constraints),
        f"sort_field={encoded}",
        f"cursor={encoded}",
        f"geo_reference={encoded}&sort_field=_id",
        f"additional_sort_fields={further}",
    ]


async def test_names_and_values_are_never_part_of_a_statement(ingress: Ingress) -> None:
    ada = await bearer(ingress, ADA)
    for text in INJECTIONS:
        for headers in (ada, ADMIN):
            for query in hostile_queries(text):
                answer = await ingress.send("GET", f"{PATH}?{query}", headers=headers)
                assert answer.status in {200, 400, 404}, (query, answer.body)
            for path in (f"{PATH}/{quote(text)}", f"/api/1.1/obj/{quote(text)}"):
                assert (await ingress.send("GET", path, headers=headers)).status in {200, 400, 404}
            for values in ({text: "x"}, {"title": text}, {"owner": text}, {"size": text}):
                assert (await ingress.send("POST", PATH, json=values, headers=headers)).status in {201, 400}
    own = "SELECT title FROM live.document WHERE created_by = $1 AND title NOT IN ('plan', 'list')"
    stored = {row["title"] for row in await ingress.fetch(own, ADA)}
    assert stored == {text.replace("\u0000", "\ufffd") for text in INJECTIONS}
    assert len(await ingress.fetch("SELECT 1 FROM live.document")) > len(DOCUMENTS)
