"""Answers by link, and failed runs retried from a step, as people and programs do it: over HTTP, to all services."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from urllib.parse import urlencode
from uuid import UUID

import pytest
from aiohttp import ClientSession
from pydantic import JsonValue

from penstock.testing import AppUnderTest, open_app
from tests.integration.coded.shop import write_app

CODE = """
from penstock import App, Context

app = App()


@app.workflow()
async def decide(ctx: Context) -> dict:
    link = await ctx.link_of("ask")
    await ctx.create("note", {"text": link})
    why, amount = {"type": "text", "label": "Why so?"}, {"type": "number", "optional": True}
    schema = {"approved": "boolean", "why": why, "amount": amount}
    answer = await ctx.wait_for("approve_order", link=True, schema=schema, step_id="ask", timeout="7d")
    return {"answer": answer, "is_same": link == await ctx.link_of("ask")}


@app.workflow()
async def wander(ctx: Context) -> None:
    await ctx.create("note", {"text": await ctx.link_of("nowhere")})
    await ctx.wait_for("approve_order", step_id="plain")


@app.workflow()
async def charge(ctx: Context, amount: int) -> dict:
    await ctx.create("note", {"text": "first"}, step_id="first")
    await ctx.create("note", {"text": f"second {amount}"}, step_id="second")
    if amount < 10:
        await ctx.fail("too little", step_id="check")
    await ctx.create("note", {"text": "third"}, step_id="third")
    return {"amount": amount}
"""
YAML = """
workflow: written
parameters: {amount: number}
steps:
  - id: first
    log: one
  - id: check
    when: params.amount < 10
    fail: too little
  - id: last
    log: two
"""
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
async def app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AppUnderTest]:
    """The app, served."""
    async with open_app(write_app(tmp_path_factory.mktemp("coded"), CODE, YAML)) as opened:
        yield opened


async def send(
    app: AppUnderTest, method: str, path: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """The answer of the public port: its status, and the page."""
    async with ClientSession() as client, client.request(method, app.url + path, data=data, headers=headers) as answer:
        return answer.status, await answer.text()


async def ask(app: AppUnderTest, workflow: str = "decide") -> tuple[UUID, str]:
    """A run that waits, and the path of the link that it has made."""
    known = {thing.id for thing in await app.find("note")}
    run_id = await app.start(workflow)
    await app.wait_for(run_id, state="waiting")
    (note,) = [thing for thing in await app.find("note") if thing.id not in known]
    return run_id, f"/approvals/{str(note['text']).rpartition('/')[2]}"


def form(**given: str) -> bytes:
    return urlencode(given).encode()


async def test_the_link_of_code_is_looked_at_by_bots_and_answered_once(app: AppUnderTest) -> None:
    run_id, path = await ask(app)
    bot = {"User-Agent": "Slackbot-LinkExpanding 1.0", "Sec-Purpose": "prefetch"}
    assert await send(app, "HEAD", path, headers=bot) == (200, "")
    assert (await send(app, "GET", path, headers=bot))[0] == 200
    status, page = await send(app, "GET", path)
    assert (status, "Why so?" in page) == (200, True)
    for names in ('name="approved"', 'name="why"', 'name="amount"', "<h1>Approve order</h1>"):
        assert names in page
    assert (await send(app, "POST", path, b'{"why": "x"}', {"Content-Type": "application/json"}))[0] == 415
    assert (await send(app, "POST", path, form(amount="much", why="x"), FORM))[0] == 422
    tampered = path[:20] + ("A" if path[20] != "A" else "B") + path[21:]
    for method in ("GET", "POST"):
        assert (await send(app, method, tampered, form(why="x") if method == "POST" else None, FORM))[0] == 404
    assert (await app.get_run(run_id)).state == "waiting"
    assert (await send(app, "POST", path, form(approved="true", why="it is fine"), FORM))[0] == 200
    run = await app.wait_for(run_id)
    assert run.result == {"answer": {"approved": True, "why": "it is fine", "amount": None}, "is_same": True}
    for method in ("GET", "POST"):
        assert (await send(app, method, path, form(why="again") if method == "POST" else None, FORM))[0] == 410


async def test_a_link_whose_time_is_over_answers_nothing(app: AppUnderTest) -> None:
    run_id, path = await ask(app)
    await app.advance(timedelta(days=7, seconds=1))
    run = await app.wait_for(run_id)
    assert run.result == {"answer": None, "is_same": True}
    status, page = await send(app, "POST", path, form(why="late"), FORM)
    assert (status, "no longer valid" in page) == (410, True)


async def test_the_link_of_a_step_that_has_none_leads_to_no_form(app: AppUnderTest) -> None:
    run_id, path = await ask(app, "wander")
    for method in ("GET", "POST"):
        assert (await send(app, method, path, form(why="x") if method == "POST" else None, FORM))[0] == 409
    await app.signal("approve_order")
    assert (await app.wait_for(run_id)).state == "succeeded"
    assert (await send(app, "GET", path))[0] == 410


async def retry(app: AppUnderTest, run_id: UUID, body: Mapping[str, JsonValue]) -> tuple[int, dict[str, JsonValue]]:
    """What the management API answers."""
    url = f"{app.admin_url}/v1/{app.environment}/runs/{run_id}/retry"
    async with ClientSession() as client, client.post(url, json=body, headers=app.admin_headers) as answer:
        return answer.status, await answer.json(content_type=None)


@pytest.mark.parametrize(
    ("workflow", "body", "says"),
    [
        ("charge", {"from": "frist"}, "from: there is no step 'frist'; did you mean 'first'?; there are first, second"),
        ("charge", {"from": "third"}, "from: there is no step 'third'"),
        ("written", {"from": "frist"}, "there are first, check, last"),
        ("written", {"from": "last"}, "from: the run failed at 'check', which comes before 'last'; name 'check' or"),
        ("written", {"from": "last", "version": "current"}, "from: the run failed at 'check', which comes before"),
        ("charge", {"parameters": {"amount": "many"}}, "parameter amount"),
        ("charge", {"parameters": {"amuont": 1}}, "amuont"),
        ("charge", {"from": "first", "parameters": {"amount": None}}, "parameter amount"),
        ("charge", {"version": "newest"}, "version"),
        ("charge", {"from": 3}, "from"),
        ("charge", {"step": "first"}, "step"),
    ],
)
async def test_a_retry_that_does_not_fit_says_what_and_where_and_changes_nothing(
    app: AppUnderTest, workflow: str, body: dict[str, JsonValue], says: str
) -> None:
    failed = await app.run(workflow, {"amount": 5})
    status, problem = await retry(app, failed.id, body)
    assert (status, problem["status"], says in str(problem["detail"])) == (422, 422, True), problem
    again = await app.get_run(failed.id)
    assert (again.state, again.attempt, again.steps) == ("failed", failed.attempt, failed.steps)


async def test_code_is_retried_from_a_step_by_its_id(app: AppUnderTest) -> None:
    failed = await app.run("charge", {"amount": 5})
    texts = [str(thing["text"]) for thing in await app.find("note")]
    status, run = await retry(app, failed.id, {"from": "second", "parameters": {"amount": 20}})
    assert (status, run["id"]) == (200, str(failed.id))
    assert (await app.wait_for(failed.id, state="succeeded")).result == {"amount": 20}
    now = [str(thing["text"]) for thing in await app.find("note")]
    assert sorted(now) == sorted([*texts, "second 20", "third"]), "the first step is kept"
