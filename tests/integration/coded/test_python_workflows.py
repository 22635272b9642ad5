"""Workflows in Python, performed by the real services: steps are recalled, whatever happens between them."""

import asyncio
import sys
import threading
from datetime import timedelta

import pytest
from aiohttp import web

from penstock.testing import AppUnderTest
from tests.eventually import eventually
from tests.integration.coded.shop import error_of, finish, probe
from tests.integration.executing import serve_outside


async def test_finished_steps_are_recalled_when_the_code_begins_anew(app: AppUnderTest) -> None:
    run = await finish(app, "replayed", name="milk")
    assert run.state == "succeeded", run
    assert run.result == {"id": (await app.find("note"))[0]["_id"], "number": 1, "text": "milk", "attempt": 3}
    assert probe("CALLS") == ["milk"]
    assert await app.count("note") == 1
    assert [(path, done.attempt) for path, done in run.steps.items()] == [("create", 1), ("number", 1), ("update", 3)]
    first = next(line.message for line in run.logs if line.level == "warning")
    assert first.startswith("ValueError: attempt 1 (shop.py:")


async def test_a_permanent_error_is_not_tried_again(shared: AppUnderTest) -> None:
    error = error_of(await shared.run("hopeless"))
    assert (error["kind"], error["message"]) == ("permanent", "there is no point")
    assert error["place"].startswith("shop.py:")
    assert "step" not in error


async def test_a_step_that_fails_is_named_with_the_line_that_asked_for_it(shared: AppUnderTest) -> None:
    run = await finish(shared, "unlucky")
    error = error_of(run)
    assert (error["step"], error["place"].split(":")[0], run.attempt) == ("http", "shop.py", 3)
    assert run.steps["http"].outcome == "failed"


async def test_a_failure_that_the_code_went_on_from_is_recalled_too(app: AppUnderTest) -> None:
    run = await finish(app, "caught")
    assert run.state == "succeeded", run
    assert (run.attempt, run.steps["http"].outcome, run.steps["http"].attempt) == (2, "failed", 1)
    assert await app.count("note") == 1
    assert probe("CALLS") == ["caught", "caught"]


@pytest.mark.parametrize(
    ("workflow", "how"), [("fickle", "create was performed then"), ("shifty", "of the kind 'create'")]
)
async def test_code_that_goes_another_way_fails_clearly(shared: AppUnderTest, workflow: str, how: str) -> None:
    error = error_of(await finish(shared, workflow))
    assert error["kind"] == "non_deterministic"
    assert how in error["message"]
    assert error["place"].startswith("shop.py:")


async def test_async_code_is_cancelled_by_its_timeout(app: AppUnderTest) -> None:
    error = error_of(await app.run("endless"))
    assert error["kind"] == "timeout"
    assert probe("ENDED") == ["endless"]


async def test_code_that_does_not_end_when_cancelled_is_left_behind_and_fenced(app: AppUnderTest) -> None:
    assert error_of(await app.run("stubborn"))["kind"] == "timeout"
    await eventually(lambda: "stubborn LeaseLost" in probe("ENDED"))
    assert await app.count("note") == 0


async def test_a_thread_outlives_its_run_but_gets_no_step_performed(app: AppUnderTest) -> None:
    assert error_of(await app.run("blocked"))["kind"] == "timeout"
    gate: threading.Event = sys.modules["shop"].GATE
    gate.set()
    await eventually(lambda: "blocked LeaseLost" in probe("ENDED"))
    assert await app.count("note") == 0


async def test_steps_that_are_awaited_together_come_in_the_order_of_the_calls(shared: AppUnderTest) -> None:
    run = await shared.run("together")
    assert run.result == {"numbers": [0, 1, 2, 3, 4], "met": [1, 2]}
    assert list(run.steps)[:3] == ["create", "create_2", "create_3"]


async def test_steps_inside_of_a_remembered_function_have_paths_of_their_own(app: AppUnderTest) -> None:
    run = await finish(app, "nested")
    assert run.result == {"differ": True}
    assert set(run.steps) == {"inner", "inner/create", "create"}
    assert await app.count("note") == 2


async def test_a_wait_ends_the_code_and_begins_it_anew(app: AppUnderTest) -> None:
    run_id = await app.start("patient")
    await app.advance(timedelta(days=29))
    assert (await app.get_run(run_id)).state == "waiting"
    await app.restart()
    await app.advance(timedelta(days=2))
    assert [note["text"] for note in await app.find("note", sort="Created Date")] == ["before", "after"]
    await app.signal("approved", {"by": "me", "with": "pleasure"})
    await app.advance(timedelta(days=2))
    assert (await app.wait_for(run_id)).result == {"approved": {"by": "me", "with": "pleasure"}, "missed": None}


async def test_a_crash_between_steps_repeats_none_of_them(app: AppUnderTest) -> None:
    keys: list[str] = []
    has_arrived = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            has_arrived.set()
            await asyncio.Event().wait()
        return web.json_response({})

    async with serve_outside(answer) as url:
        run_id = await app.start("crashing", {"url": url})
        await has_arrived.wait()
        await app.crash_executor()
        run = await app.wait_for(run_id)
    assert run.result == {"status": 200, "number": 1}
    assert (run.attempt, len(keys), len(set(keys))) == (2, 2, 1)
    assert await app.count("note") == 1


async def test_a_step_that_the_code_cancels_is_the_end_of_it(app: AppUnderTest) -> None:
    never = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await never.wait()
        return web.Response()

    async with serve_outside(hang) as url:
        error = error_of(await app.run("impatient", {"url": url}))
        never.set()
    assert (error["kind"], "give the step `timeout=`" in error["message"]) == ("cancelled", True)
    assert await app.count("note") == 0


async def test_a_run_whose_condition_is_not_met_is_skipped_and_its_code_not_called(shared: AppUnderTest) -> None:
    skipped = await shared.run("picky", {"name": ""})
    assert (skipped.state, skipped.result) == ("skipped", None)
    assert (await shared.post("/api/1.1/wf/picky", {"name": ""})).status == 400
    assert "picky " not in probe("CALLS")
    assert (await shared.run("picky", {"name": "axe"})).result == {"called": 1}
