"""Runs that wait: for a time, for a signal; what they hold meanwhile, who wakes them, and that nothing is lost or done
twice.
"""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from pydantic import JsonValue

from penstock.contracts.topology import executor_queue
from penstock.db import Connection
from penstock.domain.runs import RunSummary
from penstock.runs.waits import SIGNAL_LIFETIME, delete_expired_signals, post_signal
from penstock.runtime import Resources, Stop
from penstock.testing.time import advance
from penstock_scheduler.loops.waking import wake_waiting
from penstock_scheduler.room import furnish
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House, names
from tests.integration.scheduling import build_settings

REMINDER = """
workflow: reminder
steps:
  - create: thing
    set: {name: before}
  - id: pause
    wait: 30d
  - create: thing
    set: {name: after}
  - return: {attempt: "${run.attempt}", pause: "${steps.pause}"}
"""
PAYMENT = """
workflow: payment
parameters: {order: {type: any, optional: true}}
steps:
  - id: paid
    wait_for: paid
    match: {order: "${params.order}"}
    timeout: 1h
  - return: {paid: "${steps.paid}"}
"""
ANYTHING = """
workflow: listener
steps:
  - id: heard
    wait_for: "news-${1 + 1}"
  - return: {heard: "${steps.heard}"}
"""


@pytest.fixture
def database_url(movable_database_url: str) -> str:
    """A database whose time can be moved."""
    return movable_database_url


async def _advance(house: House, by: timedelta) -> None:
    async with house.database.connection() as conn:
        await advance(conn, by)


async def _signal(house: House, name: str, payload: JsonValue = None) -> list[RunSummary]:
    async def post(conn: Connection) -> list[RunSummary]:
        return await post_signal(conn, environment=ENVIRONMENT, name=name, payload=payload)

    woken = await house.database.in_transaction(post)
    await house.publisher.dispatch(woken)
    return woken


async def _waits(house: House) -> int:
    return len(await house.fetch("SELECT FROM penstock.waits"))


async def test_a_run_waits_and_goes_on_where_it_was(house: House) -> None:
    await house.deploy(REMINDER)
    async with house.services():
        run_id = await house.start("reminder")
        waiting = await house.ended(run_id, "waiting")
        assert (waiting["lease_expires_at"], waiting["finished_at"]) == (None, None)
        assert (await house.steps(run_id))["pause"]["outcome"] == "waiting"
        lines = await eventually(lambda: house.logs(run_id))
        assert [(line["event"], line["message"][:6]) for line in lines] == [("event waiting", "until ")]
        await _advance(house, timedelta(days=29, hours=23))
        assert (await house.get(run_id))["state"] == "waiting"
        await _advance(house, timedelta(hours=1))
        run = await house.ended(run_id)
    assert (run["state"], run["result"]) == ("succeeded", {"attempt": 2, "pause": None})
    assert names(await house.things()) == ["before", "after"]
    assert (await house.steps(run_id))["pause"]["outcome"] == "succeeded"
    assert await _waits(house) == 0


async def test_a_waiting_run_holds_no_slot_and_no_message(house: House) -> None:
    await house.deploy(REMINDER)
    async with house.services(), house.executor(executor_concurrency=1):
        runs = [await house.start("reminder") for _ in range(5)]
        for run_id in runs:
            await house.ended(run_id, "waiting")
        assert await house.broker.count_ready(executor_queue()) == 0
    async with house.executor():  # the drain above had nothing to wait for, and nothing was given back
        assert {(await house.get(run_id))["state"] for run_id in runs} == {"waiting"}


async def test_short_waits_are_over_on_time_and_never_early(house: House) -> None:
    await house.deploy("workflow: nap\nsteps:\n  - wait: 300ms\n  - wait: 0s\n  - wait_until: '2020-01-01T00:00:00Z'\n")
    async with house.services(schedulers=2):
        runs = [await house.start("nap") for _ in range(20)]
        for run_id in runs:
            assert (await house.ended(run_id))["state"] == "succeeded"
    rows = await house.fetch(
        "SELECT extract(epoch FROM finished_at - started_at)::float8 AS took FROM penstock.steps WHERE step = 'step1' "
        "ORDER BY 1"
    )
    took = [row["took"] for row in rows]
    assert took[0] >= 0.3
    assert (
        took[len(took) // 2] < 0.8
    )  # the machine may be busy; a poll each second would have a median of 0.8 s and more
    assert {row["attempt"] for row in await house.fetch("SELECT attempt FROM penstock.runs")} == {2}


async def test_wait_until_takes_times_and_expressions(house: House) -> None:
    await house.deploy(
        'workflow: w\nparameters: {at: date}\nsteps:\n  - wait_until: "${params.at}"\n  - return: {ok: true}\n'
    )
    async with house.services():
        run_id = await house.start("w", {"at": "2040-01-01T00:00:00Z"})
        await house.ended(run_id, "waiting")
        (wait,) = await house.fetch("SELECT until FROM penstock.waits")
        assert wait["until"].year == 2040


async def test_a_duration_that_is_none_fails_with_its_place(house: House) -> None:
    await house.deploy('workflow: w\nparameters: {d: text}\nsteps:\n  - wait: "${params.d}"\n')
    async with house.services():
        run = await house.perform("w", {"d": "soon"})
    assert run["state"] == "failed"
    assert run["error"]["message"].startswith("wait at workflows/all.yaml:4: `wait`: 'soon' is not a duration")


async def test_a_wait_inside_triggered_workflows_goes_on_inside_them(house: House) -> None:
    await house.deploy("""
workflow: outer
steps:
  - id: inner
    trigger: inner
    on_error: continue
  - create: thing
    set: {name: outer}
  - return: {inner: "${steps.inner}"}
---
workflow: inner
steps:
  - create: thing
    set: {name: first}
  - state: {seen: 1}
  - wait: 2d
  - create: thing
    set: {name: second}
  - return: {seen: "${state.seen}"}
""")
    async with house.services():
        run_id = await house.start("outer")
        await house.ended(run_id, "waiting")
        assert set(await house.steps(run_id)) == {"inner/step1", "inner/step2", "inner/step3"}
        await _advance(house, timedelta(days=2))
        run = await house.ended(run_id)
    assert run["result"] == {"inner": {"seen": 1}}
    assert names(await house.things()) == ["first", "second", "outer"]


async def test_conditions_that_were_met_are_not_asked_again_after_a_wait_inside(house: House) -> None:
    await house.deploy("""
workflow: outer
steps:
  - when: run.attempt == 1
    id: inner
    trigger: inner
  - return: {inner: "${steps.inner.done}"}
---
workflow: inner
when: run.attempt == 1
steps:
  - create: thing
    set: {name: first}
  - wait: 2d
  - create: thing
    set: {name: second}
  - return: {done: true}
""")
    async with house.services():
        run_id = await house.start("outer")
        await house.ended(run_id, "waiting")
        await _advance(house, timedelta(days=2))
        run = await house.ended(run_id)
    assert (run["state"], run["result"]) == ("succeeded", {"inner": True})
    assert names(await house.things()) == ["first", "second"]


async def test_a_skipped_wait_does_not_wait(house: House) -> None:
    await house.deploy(
        "workflow: w\nsteps:\n  - when: 1 > 2\n    wait: 3d\n  - when: 1 > 2\n    wait_for: x\n  - return: {ok: true}\n"
    )
    async with house.services():
        assert (await house.perform("w"))["result"] == {"ok": True}


async def test_a_retry_after_a_wait_does_not_wait_again(house: House) -> None:
    await house.deploy("""
workflow: w
retries: {attempts: 3, backoff: 10ms}
steps:
  - wait: 1d
  - http: "http://127.0.0.1:9/nobody"
    timeout: 2s
""")
    async with house.services(outgoing_allow="127.0.0.0/8"):
        run_id = await house.start("w")
        await house.ended(run_id, "waiting")
        await _advance(house, timedelta(days=1))
        run = await house.ended(run_id)
    assert (run["state"], run["failures"]) == ("failed", 3)
    assert run["attempt"] == 4


async def test_a_run_woken_too_early_waits_until_the_same_time(house: House) -> None:
    await house.deploy(REMINDER)
    async with house.services():
        run_id = await house.start("reminder")
        await house.ended(run_id, "waiting")
        (first,) = await house.fetch("SELECT until FROM penstock.waits")
        await house.publisher.dispatch(
            await house.summaries(run_id)
        )  # a second delivery of an old message: nothing to claim
        await house.fetch("UPDATE penstock.runs SET state = 'queued' WHERE id = $1", run_id)
        await house.publisher.dispatch(await house.summaries(run_id))
        await eventually(lambda: _is(house, run_id, "waiting", attempt=2))
        (second,) = await house.fetch("SELECT until FROM penstock.waits")
        assert first == second
        await _advance(house, timedelta(days=30))
        assert (await house.ended(run_id))["state"] == "succeeded"
    assert names(await house.things()) == ["before", "after"]


async def _is(house: House, run_id: UUID, state: str, *, attempt: int) -> bool:
    row = await house.get(run_id)
    return (row["state"], row["attempt"]) == (state, attempt)


async def test_rivals_wake_each_run_once(house: House) -> None:
    await house.deploy(REMINDER)
    async with house.executor():
        await house.publisher.dispatch(await house.admit("reminder", count=1500))
        await eventually(lambda: _count(house, "waiting", 1500), within=60)
    await _advance(house, timedelta(days=30))
    rooms = [furnish(build_settings(), Resources(house.database, house.broker), Stop()) for _ in range(3)]
    counts = [count for _ in range(3) for count in await asyncio.gather(*(wake_waiting(room) for room in rooms))]
    assert sum(count.done["woken"] for count in counts) == 1500
    for room in rooms:
        await room.dispatches.drain()
    assert await _count(house, "queued", 1500)
    assert await _waits(house) == 0


async def _count(house: House, state: str, count: int) -> bool:
    (row,) = await house.fetch("SELECT count(*) AS n FROM penstock.runs WHERE state = $1", state)
    assert row["n"] == count
    return True


async def test_a_waiting_run_of_a_stopped_chain_is_terminated_when_its_time_comes(house: House) -> None:
    await house.deploy(REMINDER)
    async with house.services():
        run_id = await house.start("reminder")
        await house.ended(run_id, "waiting")
        await house.fetch(
            "INSERT INTO penstock.chains (id, environment, runs, stopped_at) VALUES ($1, $2, 1, clock_timestamp())",
            run_id,
            ENVIRONMENT,
        )
        await _advance(house, timedelta(days=30))
        run = await house.ended(run_id)
    assert (run["state"], run["error"]["kind"]) == ("terminated", "chain_stopped")
    assert (names(await house.things()), await _waits(house)) == (["before"], 0)


async def test_a_signal_wakes_the_runs_that_match_and_gives_them_its_payload(house: House) -> None:
    await house.deploy(PAYMENT)
    async with house.services():
        one, two = await house.start("payment", {"order": 1}), await house.start("payment", {"order": "1"})
        anything = await house.start("payment")
        for run_id in (one, two, anything):
            await house.ended(run_id, "waiting")
        assert [run.id for run in await _signal(house, "paid", {"order": 1.0, "by": "card"})] == [one]
        assert (await house.ended(one))["result"] == {"paid": {"order": 1, "by": "card"}}
        assert [run.id for run in await _signal(house, "paid", [1, 2])] == [
            anything
        ]  # a member that is missing is null
        assert (await house.ended(anything))["result"] == {"paid": [1, 2]}
        assert (await house.get(two))["state"] == "waiting"
        assert await _signal(house, "Paid", {"order": "1"}) == []


async def test_a_signal_that_does_not_come_in_time_is_null(house: House) -> None:
    await house.deploy(PAYMENT)
    async with house.services():
        run_id = await house.start("payment", {"order": 1})
        await house.ended(run_id, "waiting")
        await _advance(house, timedelta(hours=1))
        run = await house.ended(run_id)
        assert (run["state"], run["result"]) == ("succeeded", {"paid": None})
        assert await _signal(house, "paid", {"order": 1}) == []


async def test_a_wait_without_timeout_lasts(house: House) -> None:
    await house.deploy(ANYTHING)
    async with house.services():
        run_id = await house.start("listener")
        await house.ended(run_id, "waiting")
        await _advance(house, timedelta(days=400))
        assert [run.id for run in await _signal(house, "news-2", {"at": "last"})] == [run_id]
        assert (await house.ended(run_id))["result"] == {"heard": {"at": "last"}}


async def test_a_signal_nobody_waits_for_is_kept_for_the_first_that_does(house: House) -> None:
    await house.deploy(PAYMENT)
    async with house.services():
        for number in (7, 8, 8):
            assert await _signal(house, "paid", {"order": number, "n": number * 10}) == []
        first, second, third = [await house.start("payment", {"order": 8}) for _ in range(3)]
        await eventually(lambda: _count(house, "succeeded", 2))
        await eventually(lambda: _count(house, "waiting", 1))
        assert len(await house.fetch("SELECT FROM penstock.signals")) == 1  # that of order 7
        waiting = [run_id for run_id in (first, second, third) if (await house.get(run_id))["state"] == "waiting"]
        assert [run.id for run in await _signal(house, "paid", {"order": 8})] == waiting


async def test_a_kept_signal_expires(house: House) -> None:
    await house.deploy(PAYMENT)
    await _signal(house, "paid", {"order": 1})
    await _advance(house, SIGNAL_LIFETIME + timedelta(seconds=1))
    async with house.executor():
        run_id = await house.start("payment", {"order": 1})
        assert (await house.ended(run_id, "waiting", "succeeded"))["state"] == "waiting"
    async with house.database.connection() as conn:
        assert (await delete_expired_signals(conn, most=10), await delete_expired_signals(conn, most=10)) == (1, 0)


async def test_no_signal_falls_between_posting_and_beginning_to_wait(house: House) -> None:
    """Each order is started and paid for at the same moment, again and again: every run has to hear of its payment,
    once.
    """
    await house.deploy(PAYMENT)
    places = asyncio.Semaphore(4)  # a transaction each, out of the pool that the services use too

    async def start_and_pay(order: int) -> UUID:
        run_id, _ = await asyncio.gather(house.start("payment", {"order": order}), pay(order))
        return run_id

    async def pay(order: int) -> None:
        async with places:
            await _signal(house, "paid", {"order": order})

    async with house.services(), house.executor():
        for run_id in await asyncio.gather(*(start_and_pay(order) for order in range(100))):
            run = await house.ended(run_id)
            assert run["result"]["paid"] == {"order": run["parameters"]["order"]}
    assert await house.fetch("SELECT FROM penstock.signals") == []
    assert await _waits(house) == 0


async def test_signals_at_the_same_time_wake_a_run_once(house: House) -> None:
    await house.deploy(ANYTHING)
    async with house.services():
        run_id = await house.start("listener")
        await house.ended(run_id, "waiting")
        woken = await asyncio.gather(*(_signal(house, "news-2", number) for number in range(20)))
        assert sum(len(runs) for runs in woken) == 1
        run = await house.ended(run_id)
    (heard,) = [number for number, runs in enumerate(woken) if runs]
    assert (run["result"], run["attempt"]) == ({"heard": heard}, 2)
    assert len(await house.fetch("SELECT FROM penstock.signals")) == 19


async def test_the_version_a_run_began_with_holds_after_its_wait(house: House) -> None:
    await house.deploy(REMINDER)
    async with house.services():
        run_id = await house.start("reminder")
        await house.ended(run_id, "waiting")
    await house.deploy(REMINDER.replace("name: after", "name: changed"))
    await _advance(house, timedelta(days=30))
    async with house.services():
        run = await house.ended(run_id)
    assert (run["state"], run["version"]) == ("succeeded", 1)
    assert names(await house.things()) == ["before", "after"]
