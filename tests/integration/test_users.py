"""The user for whom a run works: what expressions and code see of them, who is the creator of what the run makes, and
which runs hand the user down.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import aiohttp
import pytest
from pydantic import JsonValue

from penstock.domain.callers import admin_user_id, is_admin_user
from penstock.errors import Permanent
from penstock.testing import AppUnderTest, Run, open_app
from penstock.testing.replies import Reply

APP = "app: shop\npython: [shop_code]\n"
TYPES = """
type: user
fields: {name: text}
---
type: note
fields: {text: text, owner: user}
"""
SEEN = "who: '${user}', id: '${user._id}', mail: '${user.email}', name: '${user.name}'"
CREATE = "create: note, set: {text: '${params.text}', owner: '${user}'}"
WORKFLOWS = f"""
workflow: look
on: {{api: {{method: POST, auth: public}}}}
steps: [{{return: {{{SEEN}}}}}]
---
workflow: triggering
on: {{api: {{method: POST, auth: user}}}}
steps: [{{id: inner, trigger: look}}, {{return: {{id: "${{steps.inner.id}}"}}}}]
---
workflow: note_it
parameters: {{text: text}}
on: {{api: {{method: POST, auth: public}}}}
steps: [{{{CREATE}}}]
---
workflow: note_all
parameters: {{text: text}}
on: {{api: {{method: POST, auth: public}}}}
steps:
  - {{{CREATE}}}
  - create_many: note
    from: [1, 2]
    set: {{text: "many"}}
  - import: note
    from: "text\\nimported\\n"
    format: csv
  - schedule: note_it
    with: {{text: scheduled}}
  - schedule_list: note_it
    over: [1]
    with: {{text: listed}}
---
workflow: rename
on: {{api: {{method: POST, auth: user}}}}
steps:
  - update: "${{user}}"
    set: {{name: Countess}}
  - create: note
    set: {{text: "${{user.name}}"}}
  - schedule: later
---
workflow: later
steps: [{{create: note, set: {{text: "${{user.name}}"}}}}]
---
workflow: leave
on: {{api: {{method: POST, auth: user}}}}
steps: [{{delete: "${{user}}"}}, {{schedule: later}}]
---
workflow: call_round
parameters: {{url: text}}
on: {{api: {{method: POST, auth: user}}}}
steps: [{{http: "${{params.url}}", method: POST, json: {{text: round}}}}]
"""
CODE = """
from penstock import App, Context, api

app = App()


@app.workflow(on=[api(method="POST", auth="public")])
async def coded(ctx: Context) -> dict:
    made = await ctx.create("note", {"text": "coded"})
    who = ctx.user
    return {"mail": None if who is None else who["email"], "by": made.get("Created By")}
"""


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[AppUnderTest]:
    """The app, served, with the workflows above."""
    for name, content in {
        "app.yaml": APP, "types/all.yaml": TYPES, "workflows/all.yaml": WORKFLOWS, "shop_code.py": CODE,
    }.items():  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    async with open_app(tmp_path) as opened:
        yield opened


class Ada(NamedTuple):
    """A user, and the headers that she calls with."""

    id: str
    headers: dict[str, str]


async def sign_in(app: AppUnderTest) -> Ada:
    """A new user, and her token."""
    user = await app.create("user", {"email": "ada@example.com", "name": "Ada"})
    return Ada(user.id, await app.headers_for(user))


async def post_as_admin(app: AppUnderTest, url: str, body: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """What the management API answers when it has made something."""
    async with (
        aiohttp.ClientSession(headers=app.admin_headers) as http,
        http.post(url, json=body) as response,
    ):
        assert response.status == 201, await response.text()
        answer: dict[str, JsonValue] = await response.json()
    return answer


def response_of(reply: Reply) -> dict[str, JsonValue]:
    body = reply.json()
    assert reply.status == 200, reply.body
    assert isinstance(body, dict)
    response = body["response"]
    assert isinstance(response, dict)
    return response


async def creators(app: AppUnderTest) -> dict[str, JsonValue]:
    """By the text of each note, who has created it."""
    return {str(note["text"]): note.get("Created By") for note in await app.find("note")}


async def run_of(app: AppUnderTest, reply: Reply) -> Run:
    return await app.wait_for(UUID(reply.headers["Penstock-Run-Id"]))


async def test_a_run_sees_the_user_whose_token_has_started_it(app: AppUnderTest) -> None:
    ada = await sign_in(app)
    seen = response_of(await app.post("/api/1.1/wf/look", {}, headers=ada.headers))
    assert (seen["id"], seen["mail"], seen["name"]) == (ada.id, "ada@example.com", "Ada")
    assert isinstance(seen["who"], dict)
    assert response_of(await app.post("/api/1.1/wf/triggering", {}, headers=ada.headers)) == {"id": ada.id}


async def test_without_a_user_and_for_admins_it_is_null(app: AppUnderTest) -> None:
    for headers in ({}, app.admin_headers):
        seen = response_of(await app.post("/api/1.1/wf/look", {}, headers=headers))
        assert seen == {"who": None, "id": None, "mail": None, "name": None}
    assert (await app.run("look")).result == {"who": None, "id": None, "mail": None, "name": None}


async def test_all_that_a_chain_makes_was_created_by_its_user(app: AppUnderTest) -> None:
    ada = await sign_in(app)
    await run_of(app, await app.post("/api/1.1/wf/note_all", {"text": "own"}, headers=ada.headers))
    await app.wait_until_idle()
    assert await creators(app) == dict.fromkeys(("own", "many", "imported", "scheduled", "listed"), ada.id)
    assert {note["text"]: note.get("owner") for note in await app.find("note")}["scheduled"] == ada.id


async def test_what_an_admin_starts_was_created_by_bubbles_admin_user(app: AppUnderTest) -> None:
    await run_of(app, await app.post("/api/1.1/wf/note_all", {"text": "own"}, headers=app.admin_headers))
    url = f"{app.admin_url}/v1/{app.environment}/runs"
    await post_as_admin(app, url, {"workflow": "note_it", "parameters": {"text": "manual"}})
    await app.wait_until_idle()
    expected = dict.fromkeys(("own", "many", "imported", "scheduled", "listed", "manual"), "admin_user_shop_test")
    assert await creators(app) == expected
    assert not any(note.get("owner") for note in await app.find("note"))


async def test_what_nobody_has_started_was_created_by_nobody(app: AppUnderTest) -> None:
    await app.run("note_it", {"text": "inside"})
    await run_of(app, await app.post("/api/1.1/wf/note_it", {"text": "anonymous"}))
    assert await creators(app) == {"inside": None, "anonymous": None}


async def test_the_user_is_read_when_an_attempt_begins(app: AppUnderTest) -> None:
    ada = await sign_in(app)
    await run_of(app, await app.post("/api/1.1/wf/rename", {}, headers=ada.headers))
    await app.wait_until_idle()
    assert await creators(app) == {"Ada": ada.id, "Countess": ada.id}


async def test_a_user_who_was_deleted_is_null_and_stays_the_creator(app: AppUnderTest) -> None:
    ada = await sign_in(app)
    await run_of(app, await app.post("/api/1.1/wf/leave", {}, headers=ada.headers))
    await app.wait_until_idle()
    (note,) = await app.find("note")
    assert (note.get("text"), note.get("Created By")) == (None, ada.id)


async def test_the_token_of_a_user_who_was_deleted_is_refused(app: AppUnderTest) -> None:
    ada = await sign_in(app)
    grace = await app.headers_for(await app.create("user", {"email": "grace@example.com"}))
    await run_of(app, await app.post("/api/1.1/wf/leave", {}, headers=ada.headers))
    assert (await app.post("/api/1.1/wf/look", {}, headers=ada.headers)).status == 401
    assert (await app.post("/api/1.1/wf/look", {}, headers=grace)).status == 200
    assert (await app.post("/api/1.1/wf/look", {}, headers=app.admin_headers)).status == 200


async def test_a_run_is_shown_with_its_user(app: AppUnderTest) -> None:
    ada = await sign_in(app)
    for headers, user in ((ada.headers, ada.id), (app.admin_headers, "admin_user_shop_test"), ({}, None)):
        run = await run_of(app, await app.post("/api/1.1/wf/look", {}, headers=headers))
        url = f"{app.admin_url}/v1/{app.environment}/runs/{run.id}"
        async with aiohttp.ClientSession(headers=app.admin_headers) as http, http.get(url) as response:
            assert (await response.json())["user"] == user


async def test_headers_for_a_user_are_made_of_an_email_or_an_id(app: AppUnderTest) -> None:
    ada = await sign_in(app)
    for who in ("ADA@example.com", ada.id):
        headers = await app.headers_for(who)
        assert response_of(await app.post("/api/1.1/wf/look", {}, headers=headers))["id"] == ada.id
    with pytest.raises(Permanent, match="no user with the id or email 'nobody'"):
        await app.headers_for("nobody")


async def test_a_call_that_continues_the_chain_of_a_user_does_not_act_as_that_user(app: AppUnderTest) -> None:
    ada = await sign_in(app)
    target = f"{app.url}/api/1.1/wf/note_it"
    run = await run_of(app, await app.post("/api/1.1/wf/call_round", {"url": target}, headers=ada.headers))
    await app.wait_until_idle()
    (called,) = await app.list_runs("note_it")
    assert (called.chain_id, called.depth) == (run.chain_id, 1)
    assert await creators(app) == {"round": None}


async def test_code_sees_the_user_too(app: AppUnderTest) -> None:
    ada = await sign_in(app)
    seen = response_of(await app.post("/api/1.1/wf/coded", {}, headers=ada.headers))
    assert seen == {"mail": "ada@example.com", "by": ada.id}
    assert response_of(await app.post("/api/1.1/wf/coded", {}))["mail"] is None


@pytest.mark.parametrize(
    ("environment", "id"), [("live", "admin_user_shop_live"), ("development", "admin_user_shop_test")]
)
def test_admins_have_the_id_that_bubble_gives_them(environment: str, id: str) -> None:
    assert admin_user_id("shop", environment) == id
    assert is_admin_user(id)
    assert not is_admin_user("1700000000000x000000000000000001")
