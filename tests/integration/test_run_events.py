"""`on: run`: a run that fails, is terminated or cancelled starts what waits for that, one deeper, and never itself."""

from penstock.db import Record
from penstock.domain.runs import RunSummary
from penstock.runs.cancellations import Retry, cancel_runs, retry_run
from penstock.runtime import Resources, Stop
from penstock_scheduler.loops.run_triggers import start_run_events
from penstock_scheduler.room import furnish
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House
from tests.integration.scheduling import build_settings

HANDLER = """
workflow: handler
on: {run: {states: [failed, cancelled], workflows: [charge]}}
steps:
  - return:
      of: "${run_event.id}"
      state: "${run_event.state}"
      order: "${run_event.parameters.order}"
      kind: "${run_event.error.kind}"
"""
CHARGE = """
workflow: charge
parameters: {order: {type: number, optional: true}}
steps: [{fail: no money}]
---
workflow: other
steps: [{fail: of no interest}]
"""


async def start(house: House) -> dict[str, int]:
    """A scheduler's turn."""
    room = furnish(build_settings(), Resources(house.database, house.broker), Stop())
    counts = await start_run_events(room)
    await room.dispatches.drain()
    return dict(counts.done)


async def runs_of(house: House, workflow: str) -> list[Record]:
    return await house.fetch("SELECT * FROM penstock.runs WHERE workflow = $1 ORDER BY depth, id", workflow)


async def test_a_failed_run_starts_its_handler_one_deeper(house: House) -> None:
    await house.deploy(f"{HANDLER}\n---\n{CHARGE}")
    async with house.executor():
        failed = await house.perform("charge", {"order": 7})
        await house.perform("other")
        assert await start(house) == {"ends": 1, "runs": 1}
        (handler,) = await runs_of(house, "handler")
        handler = await house.ended(handler["id"])

    assert (handler["depth"], handler["parent_run_id"], handler["chain_id"], handler["trigger"]) == (
        1, failed["id"], failed["chain_id"], "run_event",
    )  # fmt: skip
    assert handler["result"] == {"of": str(failed["id"]), "state": "failed", "order": 7, "kind": "failed"}


async def test_a_cancelled_run_starts_it_too_and_a_success_does_not(house: House) -> None:
    await house.deploy(f"{HANDLER}\n---\nworkflow: charge\nsteps: [{{log: paid}}]")
    async with house.executor():
        await house.perform("charge")
    (waiting,) = await house.admit("charge")
    async with house.database.connection() as conn:
        await cancel_runs(conn, environment=ENVIRONMENT, run_ids=[waiting.id], by="a test")

    assert await start(house) == {"ends": 1, "runs": 1}
    (handler,) = await runs_of(house, "handler")
    assert handler["context"]["run_event"]["state"] == "cancelled"


async def test_a_handler_that_fails_starts_nothing(house: House) -> None:
    await house.deploy("workflow: handler\non: {run: {states: failed}}\nsteps: [{fail: again}]\n---\n" + CHARGE)
    async with house.executor():
        await house.perform("charge")
        await start(house)
        (handler,) = await runs_of(house, "handler")
        assert (await house.ended(handler["id"]))["state"] == "failed"

        assert await start(house) == {"ends": 0, "runs": 0}


async def test_a_retry_that_fails_again_is_another_end(house: House) -> None:
    await house.deploy(f"{HANDLER}\n---\n{CHARGE}")
    async with house.executor():
        failed = await house.perform("charge", {"order": 7})
        async with house.database.connection() as conn:
            again = await retry_run(conn, environment=ENVIRONMENT, run_id=failed["id"], asked=Retry("a test"))
        assert isinstance(again, RunSummary)
        await house.publisher.dispatch([again])
        await house.ended(failed["id"])

        assert await start(house) == {"ends": 2, "runs": 2}


async def test_a_terminated_run_is_handled_within_the_handlers_own_budget(house: House) -> None:
    handler = "workflow: handler\ndepth_limit: 5\non: {run: {states: terminated}}\nsteps: [{log: cut}]"
    deep = "workflow: deep\nrecursive: true\nsteps: [{schedule: deep}]"
    await house.deploy(f"{handler}\n---\n{deep}", depth_limit=2)
    async with house.services():
        await house.start("deep")
        (handled,) = await eventually(lambda: runs_of(house, "handler"))
        assert (await house.ended(handled["id"]))["state"] == "succeeded"

    assert handled["depth"] == 4
    assert [run["state"] for run in await runs_of(house, "deep")][-1] == "terminated"


async def test_nothing_is_noted_where_nobody_waits(house: House) -> None:
    await house.deploy(CHARGE)
    async with house.executor():
        await house.perform("charge")

    assert await house.fetch("SELECT * FROM penstock.run_ends") == []
