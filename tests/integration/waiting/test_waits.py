"""Runs that wait for a time: what they hold meanwhile, who wakes them, and that nothing is lost or done twice."""

import asyncio
from datetime import timedelta

from penstock.contracts.topology import executor_queue
from penstock.runtime import Resources, Stop
from penstock_scheduler.loops.waking import wake_waiting
from penstock_scheduler.room import furnish
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House, names
from tests.integration.scheduling import build_settings
from tests.integration.waiting.moving import REMINDER, advance_time, count_is, count_waits, is_in_state


async def test_a_run_waits_and_goes_on_where_it_was(house: House) -> None:
    await house.deploy(REMINDER)
    async with house.services():
        run_id = await house.start("reminder")
        waiting = await house.ended(run_id, "waiting")
        assert (waiting["lease_expires_at"], waiting["finished_at"]) == (None, None)
        assert (await house.steps(run_id))["pause"]["outcome"] == "waiting"
        lines = await eventually(lambda: house.logs(run_id))
        assert [(line["event"], line["message"][:6]) for line in lines] == [("event waiting", "until ")]
        await advance_time(house, timedelta(days=29, hours=23))
        assert (await house.get(run_id))["state"] == "waiting"
        await advance_time(house, timedelta(hours=1))
        run = await house.ended(run_id)
    assert (run["state"], run["result"]) == ("succeeded", {"attempt": 2, "pause": None})
    assert names(await house.things()) == ["before", "after"]
    assert (await house.steps(run_id))["pause"]["outcome"] == "succeeded"
    assert await count_waits(house) == 0


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
        await advance_time(house, timedelta(days=2))
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
        await advance_time(house, timedelta(days=2))
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
        await advance_time(house, timedelta(days=1))
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
        await eventually(lambda: is_in_state(house, run_id, "waiting", attempt=2))
        (second,) = await house.fetch("SELECT until FROM penstock.waits")
        assert first == second
        await advance_time(house, timedelta(days=30))
        assert (await house.ended(run_id))["state"] == "succeeded"
    assert names(await house.things()) == ["before", "after"]


async def test_rivals_wake_each_run_once(house: House) -> None:
    await house.deploy(REMINDER)
    async with house.executor():
        await house.publisher.dispatch(await house.admit("reminder", count=1500))
        await eventually(lambda: count_is(house, "waiting", 1500), within=60)
    await advance_time(house, timedelta(days=30))
    rooms = [furnish(build_settings(), Resources(house.database, house.broker), Stop()) for _ in range(3)]
    counts = [count for _ in range(3) for count in await asyncio.gather(*(wake_waiting(room) for room in rooms))]
    assert sum(count.done["woken"] for count in counts) == 1500
    for room in rooms:
        await room.dispatches.drain()
    assert await count_is(house, "queued", 1500)
    assert await count_waits(house) == 0


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
        await advance_time(house, timedelta(days=30))
        run = await house.ended(run_id)
    assert (run["state"], run["error"]["kind"]) == ("terminated", "chain_stopped")
    assert (names(await house.things()), await count_waits(house)) == (["before"], 0)


async def test_the_version_a_run_began_with_holds_after_its_wait(house: House) -> None:
    await house.deploy(REMINDER)
    async with house.services():
        run_id = await house.start("reminder")
        await house.ended(run_id, "waiting")
    await house.deploy(REMINDER.replace("name: after", "name: changed"))
    await advance_time(house, timedelta(days=30))
    async with house.services():
        run = await house.ended(run_id)
    assert (run["state"], run["version"]) == ("succeeded", 1)
    assert names(await house.things()) == ["before", "after"]
