"""Runs that are cancelled, by a step or by hand, in every state; and failed ones that are retried from the step that
failed.
"""

from uuid import UUID, uuid4

import pytest
from pydantic import JsonValue

from penstock.contracts.topology import EVENTS_EXCHANGE
from penstock.db import Connection
from penstock.domain.runs import RunSummary
from penstock.domain.states import RunState
from penstock.runs.cancellations import NotRetried, Retry, cancel_runs, retry_run
from penstock.runtime import Resources, Stop
from penstock_scheduler.loops.dispatching import dispatch_due
from penstock_scheduler.room import furnish
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House, Outside, names, serve_outside
from tests.integration.scheduling import Inbox, build_settings

LOCAL = "127.0.0.0/8"
SLEEPER = """
workflow: sleeper
steps:
  - create: thing
    set: {name: before}
  - wait_for: never
  - create: thing
    set: {name: after}
---
workflow: ender
parameters: {runs: {type: any, optional: true}}
steps:
  - id: ended
    cancel: "${params.runs}"
  - return: {ended: "${steps.ended}"}
"""
SLOW = """
workflow: slow
steps:
  - create: thing
    set: {name: before}
  - http: "${secrets.URL}"
  - create: thing
    set: {name: after}
"""
FRAGILE = """
workflow: fragile
steps:
  - id: first
    create: thing
    set: {name: once}
  - id: call
    http: "${secrets.URL}"
  - create: thing
    set: {name: "${steps.call.body.word}"}
  - return: {first: "${steps.first._id}", attempt: "${run.attempt}"}
"""


async def _cancel(house: House, *run_ids: UUID, environment: str = ENVIRONMENT) -> list[RunSummary]:
    async def work(conn: Connection) -> list[RunSummary]:
        return await cancel_runs(conn, environment=environment, run_ids=run_ids, by="a test")

    return await house.database.in_transaction(work)


async def _retry(house: House, run_id: UUID, environment: str = ENVIRONMENT) -> RunSummary | NotRetried | None:
    async def work(conn: Connection) -> RunSummary | NotRetried | None:
        return await retry_run(conn, environment=environment, run_id=run_id, asked=Retry("a test"))

    return await house.database.in_transaction(work)


async def test_runs_that_have_not_begun_are_cancelled_at_once_and_only_once(house: House) -> None:
    await house.deploy(SLEEPER)
    queued, scheduled = await house.admit("sleeper", count=2)
    await house.fetch("UPDATE penstock.runs SET state = 'scheduled', dispatched_at = NULL WHERE id = $1", scheduled.id)
    assert {run.id for run in await _cancel(house, queued.id, scheduled.id, uuid4())} == {queued.id, scheduled.id}
    for run in (queued, scheduled):
        row = await house.get(run.id)
        assert (row["state"], row["finished_at"] is not None) == ("cancelled", True)
        (line,) = await house.logs(run.id)
        assert (line["event"], line["message"]) == ("event cancelled", "cancelled by a test")
    assert await _cancel(house, queued.id, scheduled.id) == []
    async with house.services():
        await house.publisher.dispatch([queued])
        await house.perform("ender", {"runs": []})
    assert await house.things() == []


async def test_a_run_of_another_environment_is_not_found(house: House) -> None:
    await house.deploy(SLEEPER)
    (run,) = await house.admit("sleeper")
    assert await _cancel(house, run.id, environment="live") == []
    assert await _retry(house, run.id, environment="live") is None
    assert (await house.get(run.id))["state"] == "queued"


async def test_a_step_cancels_waiting_runs_and_says_how_many(house: House) -> None:
    await house.deploy(SLEEPER)
    events = Inbox()
    await house.broker.subscribe(EVENTS_EXCHANGE, "*.run.cancelled", events)
    async with house.services():
        waiting = [await house.start("sleeper") for _ in range(3)]
        for run_id in waiting:
            await house.ended(run_id, "waiting")
        ids: list[JsonValue] = [str(run_id) for run_id in waiting]
        run = await house.perform("ender", {"runs": [*ids, None, ids[0], str(uuid4())]})
        assert run["result"] == {"ended": 3}
        assert (await house.perform("ender", {"runs": ids}))["result"] == {"ended": 0}
        assert (await house.perform("ender", {"runs": None}))["result"] == {"ended": 0}
        await events.receive(3)
    assert {(await house.get(run_id))["state"] for run_id in waiting} == {"cancelled"}
    assert await house.fetch("SELECT FROM penstock.waits") == []
    assert names(await house.things()) == ["before"] * 3
    (line,) = [line for line in await house.logs(waiting[0]) if line["event"] == "event cancelled"]
    assert line["message"].startswith("cancelled by run ")


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ("yesterday", "the id of a run is expected, and this is 'yesterday'"),
        ([{"id": 1}], "the id of a run is expected, and this is object"),
        (5, "the id of a run is expected, and this is number"),
    ],
)
async def test_what_is_no_run_fails_with_its_place(house: House, runs: JsonValue, message: str) -> None:
    await house.deploy(SLEEPER)
    async with house.executor():
        run = await house.perform("ender", {"runs": runs})
    assert run["error"]["message"] == f"cancel at workflows/all.yaml:13: {message}"


async def test_a_run_scheduled_just_before_cannot_escape_its_cancellation(house: House) -> None:
    await house.deploy("""
workflow: w
steps:
  - id: child
    schedule: later
    after: 1h
  - id: ended
    cancel: "${steps.child}"
  - return: {ended: "${steps.ended}", child: "${steps.child}"}
---
workflow: later
steps: [{log: too late}]
""")
    async with house.services():
        run = await house.perform("w")
        assert run["result"]["ended"] == 1
        assert (await house.get(UUID(run["result"]["child"])))["state"] == "cancelled"


async def test_a_running_run_is_fenced_and_stopped_by_a_nudge(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Outside()
    async with serve_outside(server.handle) as server.url:
        monkeypatch.setenv("PENSTOCK_SECRET_URL", server.url)
        await house.deploy(SLOW)
        async with house.services(lease_seconds=60, outgoing_allow=LOCAL):  # a renewal would come after 20 s only
            run_id = await house.start("slow")
            await eventually(lambda: server.waiting == 1)
            (cancelled,) = await _cancel(house, run_id)
            house.publisher.run_event("cancelled", cancelled)
            await eventually(lambda: server.given_up == 1, within=5)
        assert (await house.get(run_id))["state"] == "cancelled"
        assert set(await house.steps(run_id)) == {"step1"}
        assert names(await house.things()) == ["before"]


async def test_a_running_run_is_stopped_by_the_next_renewal_without_a_nudge(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Outside()
    async with serve_outside(server.handle) as server.url:
        monkeypatch.setenv("PENSTOCK_SECRET_URL", server.url)
        await house.deploy(SLOW)
        async with house.services(lease_seconds=3, outgoing_allow=LOCAL):
            run_id = await house.start("slow")
            await eventually(lambda: server.waiting == 1)
            await _cancel(house, run_id)
            await eventually(lambda: server.given_up == 1, within=10)
        assert names(await house.things()) == ["before"]


async def test_nothing_of_a_cancelled_run_is_written_before_its_executor_notices(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Outside()
    async with serve_outside(server.handle) as server.url:
        monkeypatch.setenv("PENSTOCK_SECRET_URL", server.url)
        await house.deploy(SLOW)
        async with house.executor(lease_seconds=60, outgoing_allow=LOCAL):
            run_id = await house.start("slow")
            await eventually(lambda: server.waiting == 1)
            await _cancel(house, run_id)
            server.answers.set()
            await eventually(lambda: server.waiting == 0)
        row = await house.get(run_id)
        assert (row["state"], row["result"], row["lease_expires_at"]) == ("cancelled", None, None)
        assert set(await house.steps(run_id)) == {"step1"}
        assert names(await house.things()) == ["before"]


async def test_a_run_that_cancels_itself_stops_there(house: House) -> None:
    await house.deploy("workflow: w\nsteps:\n  - cancel: ${run.id}\n  - create: thing\n    set: {name: after}\n")
    async with house.executor():
        assert (await house.perform("w"))["state"] == "cancelled"
        await house.perform("w")
    assert await house.things() == []


async def test_a_failed_run_goes_on_from_the_failed_step_with_its_version(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_SECRET_URL", "http://127.0.0.1:9")
    await house.deploy(FRAGILE)
    async with house.services(outgoing_allow=LOCAL):
        run_id = (await house.perform("fragile"))["id"]
    failed = await house.get(run_id)
    assert (failed["state"], failed["failures"]) == ("failed", 1)
    await house.fetch("UPDATE penstock.runs SET crashes = 2 WHERE id = $1", run_id)
    await house.deploy(FRAGILE.replace("once", "twice"))
    server = Outside()
    server.answers.set()
    async with serve_outside(server.handle) as server.url:
        monkeypatch.setenv("PENSTOCK_SECRET_URL", server.url)
        async with house.services(outgoing_allow=LOCAL):
            retried = await _retry(house, run_id)
            assert isinstance(retried, RunSummary)
            row = await house.get(run_id)
            assert (row["failures"], row["crashes"], row["error"], row["finished_at"]) == (0, 0, None, None)
            await house.publisher.dispatch([retried])
            run = await house.ended(run_id)
    assert (run["state"], run["version"], run["depth"], run["chain_id"]) == (
        "succeeded",
        1,
        failed["depth"],
        failed["chain_id"],
    )
    assert run["result"]["attempt"] == 2
    assert names(await house.things()) == ["once", None]
    assert "event retried" in {line["event"] for line in await house.logs(run_id)}


async def test_whoever_has_no_broker_leaves_a_retried_run_to_the_schedulers(house: House) -> None:
    await house.deploy("workflow: w\nsteps: [{fail: no}]\n")
    async with house.executor():
        run_id = (await house.perform("w"))["id"]

    async def work(conn: Connection) -> RunSummary | NotRetried | None:
        return await retry_run(conn, environment=ENVIRONMENT, run_id=run_id, asked=Retry("a test", is_dispatched=False))

    retried = await house.database.in_transaction(work)
    assert isinstance(retried, RunSummary)
    run = await house.get(run_id)
    assert (retried.state, run["state"], run["dispatched_at"]) == (RunState.SCHEDULED, "scheduled", None)
    room = furnish(build_settings(), Resources(house.database, house.broker), Stop())
    assert (await dispatch_due(room)).done["dispatched"] == 1


async def test_only_failed_runs_are_retried(house: House) -> None:
    await house.deploy(SLEEPER)
    (run,) = await house.admit("sleeper")
    assert await _retry(house, run.id) == NotRetried(RunState.QUEUED)
    await _cancel(house, run.id)
    assert await _retry(house, run.id) == NotRetried(RunState.CANCELLED)
    assert await _retry(house, uuid4()) is None
