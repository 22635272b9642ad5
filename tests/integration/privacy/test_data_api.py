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
fields: {title: text, size: number, team: text, owner: user, members: list of user}
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
