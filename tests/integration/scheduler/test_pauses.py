"""A paused schedule starts nothing, whatever was on its way; what became due meanwhile runs or is dropped when it is
resumed, once.
"""

import asyncio
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest

from penstock import clock
from penstock.db import Connection
from penstock.domain.ids import new_run_id
from penstock.domain.schedule import Missed, ScheduleFilter
from penstock.runs.cancellations import Retry, retry_run
from penstock.runs.recurrences.rows import trigger_recurrence_id
from penstock.runs.schedule.pauses import lift_pauses, pause_schedule
from penstock.runs.views.runs import find_run
from penstock.runs.waits_and_signals import Wait, begin_waits
from penstock_executor.repository.claims import claim_runs
from penstock_scheduler.loops.dispatching import dispatch_due
from penstock_scheduler.loops.pausing import hold_back
from penstock_scheduler.loops.recurrences import tick_recurrences
from penstock_scheduler.loops.waking import wake_waiting
from penstock_scheduler.repository.runs import measure_backlog
from penstock_scheduler.rules import MAX_REST_SECONDS
from tests.integration.scheduler.taking_turns import admit_all, root
from tests.integration.scheduling import ENVIRONMENT, WORKFLOWS, Station

NOTIFY = ScheduleFilter(ENVIRONMENT, workflow="notify")
EVERYTHING = ScheduleFilter(ENVIRONMENT)
RECURRING = """
---
workflow: hourly
on: {recurrence: {cron: "0 * * * *", overlap: OVERLAP}}
steps: [{log: now}]
"""


async def pause(station: Station, of: ScheduleFilter = NOTIFY) -> None:
    await station.database.in_transaction(partial(pause_schedule, of=of, note=None))


async def resume(station: Station, of: ScheduleFilter = NOTIFY, missed: Missed = Missed.QUEUE) -> None:
    assert await station.database.in_transaction(partial(lift_pauses, of=of, missed=missed))


async def states(station: Station) -> list[str]:
    return [row["state"] for row in await station.fetch("SELECT state FROM penstock.runs ORDER BY scheduled_at, id")]


async def claim(station: Station, run_ids: list[UUID]) -> list[UUID]:
    async with station.database.connection() as conn:
        claimed = await claim_runs(conn, run_ids=run_ids, owner="me", lease=timedelta(minutes=1))
    return [run.id for run in claimed]


async def test_what_is_due_at_admission_waits_while_it_is_paused(station: Station) -> None:
    await pause(station)
    (run_id,) = await admit_all(station, [root()])
    assert await states(station) == ["scheduled"]
    counts = await dispatch_due(station.furnish())
    assert (counts.done["dispatched"], counts.done["parked"]) == (0, 1)
    async with station.database.connection() as conn:
        assert (await measure_backlog(conn)).ready == 0, "no executor is needed for it"
    again = await dispatch_due(station.furnish())
    assert (again.done["parked"], again.wait_seconds) == (0, MAX_REST_SECONDS), "a parked run keeps no scheduler busy"
    async with station.database.connection() as conn:
        shown = await find_run(conn, run_id=run_id)
    assert shown is not None
    assert shown.waiting_for is not None
    assert shown.waiting_for.reason == "paused"


async def test_a_queued_run_is_neither_claimed_nor_lost_by_a_pause(station: Station) -> None:
    run_ids = await admit_all(station, [root(), root()])
    await pause(station)
    assert await claim(station, run_ids) == []
    room = station.furnish()
    assert (await hold_back(room)).done["parked"] == 2
    await resume(station)
    assert (await hold_back(room)).done["released"] == 2
    assert (await dispatch_due(room)).done["dispatched"] == 2
    assert set(await claim(station, run_ids)) == set(run_ids)
    assert (await hold_back(room)).done == {"parked": 0, "released": 0, "dropped": 0}


async def test_what_is_queued_during_a_pause_is_parked_though_all_was_looked_through(station: Station) -> None:
    (run_id,) = await admit_all(station, [root()])
    await station.fetch("UPDATE penstock.runs SET state = 'failed', finished_at = clock_timestamp(), attempt = 1")
    await pause(station)
    room = station.furnish()
    for _ in range(2):
        assert (await hold_back(room)).done["parked"] == 0
    async with station.database.connection() as conn:
        await retry_run(conn, environment=ENVIRONMENT, run_id=run_id, asked=Retry("a test"))
    assert (await hold_back(room)).done["parked"] == 1
    assert await states(station) == ["scheduled"]


async def test_other_workflows_and_environments_continue(station: Station) -> None:
    await pause(station, ScheduleFilter(ENVIRONMENT, workflow="tidy"))
    await pause(station, ScheduleFilter("development"))
    run_ids = await admit_all(station, [root()])
    assert await states(station) == ["queued"]
    assert set(await claim(station, run_ids)) == set(run_ids)


@pytest.mark.parametrize("missed", Missed)
async def test_what_became_due_runs_or_is_dropped_and_the_rest_keeps_its_time(station: Station, missed: Missed) -> None:
    await pause(station)
    later = clock.now() + timedelta(hours=1)
    run_ids = await admit_all(station, [root(), root(), root(scheduled_at=later)])
    await station.fetch("UPDATE penstock.runs SET attempt = 1 WHERE id = $1", run_ids[1])
    room = station.furnish()
    await dispatch_due(room)
    await resume(station, missed=missed)
    done = (await hold_back(room)).done
    await dispatch_due(room)
    found = {row["id"]: row["state"] for row in await station.runs()}
    expected = "queued" if missed is Missed.QUEUE else "cancelled"
    assert [found[run_id] for run_id in run_ids] == [expected, "queued", "scheduled"], "what had begun continues"
    assert done["dropped"] == (missed is Missed.DROP)


async def test_what_no_turn_had_parked_yet_is_dropped_too(station: Station) -> None:
    await admit_all(station, [root()])
    await pause(station)
    await admit_all(station, [root()])
    await resume(station, missed=Missed.DROP)
    (run_id,) = await admit_all(station, [root()])
    assert (await hold_back(station.furnish())).done["dropped"] == 2
    rows = {row["id"]: row["state"] for row in await station.runs()}
    assert sorted(rows.values()) == ["cancelled", "cancelled", "queued"]
    assert rows[run_id] == "queued", "it was due after the pause"


async def test_of_two_pauses_both_have_to_be_lifted(station: Station) -> None:
    await pause(station)
    await pause(station, EVERYTHING)
    await admit_all(station, [root()])
    room = station.furnish()
    await dispatch_due(room)
    await resume(station, EVERYTHING)
    assert (await hold_back(room)).done["released"] == 0
    await resume(station)
    assert (await hold_back(room)).done["released"] == 1


async def test_rivals_release_each_run_once(station: Station) -> None:
    await pause(station)
    run_ids = await admit_all(station, [root() for _ in range(1500)])
    rooms = [station.furnish() for _ in range(3)]
    await dispatch_due(rooms[0])
    await dispatch_due(rooms[0])
    await resume(station)
    released = 0
    for _ in range(3):
        counts = await asyncio.gather(*(hold_back(room) for room in rooms))
        released += sum(count.done["released"] for count in counts)
    assert released == len(run_ids)
    assert not await station.fetchval("SELECT count(*) FROM penstock.runs WHERE parked_at IS NOT NULL")


async def test_a_wait_that_is_over_continues_after_the_pause(station: Station) -> None:
    (run_id,) = await admit_all(station, [root()])
    await station.fetch("UPDATE penstock.runs SET state = 'waiting', attempt = 1 WHERE id = $1", run_id)
    wait = Wait("nap", clock.now() - timedelta(seconds=1))

    async def begin(conn: Connection) -> None:
        await begin_waits(conn, waits=[(run_id, ENVIRONMENT, wait)])

    await station.database.in_transaction(begin)
    await pause(station)
    room = station.furnish()
    assert (await wake_waiting(room)).done == {"woken": 0, "terminated": 0, "parked": 1}
    assert (await wake_waiting(room)).done["parked"] == 0
    await resume(station, missed=Missed.DROP)
    assert (await hold_back(room)).done["released"] == 1
    assert (await wake_waiting(room)).done["woken"] == 1


@pytest.mark.parametrize(
    ("overlap", "missed", "runs", "passed_over"),
    [("allow", Missed.QUEUE, 4, 0), ("skip", Missed.QUEUE, 1, 3), ("allow", Missed.DROP, 0, 4)],
)
async def test_ticks_of_a_pause_are_made_up_or_dropped(
    station: Station, overlap: str, missed: Missed, runs: int, passed_over: int
) -> None:
    await station.deploy(WORKFLOWS + RECURRING.replace("OVERLAP", overlap))
    id = trigger_recurrence_id(ENVIRONMENT, "hourly", 0)
    first = clock.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    await pause(station, EVERYTHING)
    await station.fetch("UPDATE penstock.recurrences SET next_tick_at = $2, due_at = $2 WHERE id = $1", id, first)
    room = station.furnish()
    await tick_recurrences(room)
    assert await states(station) == []
    await resume(station, EVERYTHING, missed)
    await hold_back(room)
    await tick_recurrences(room)
    assert len(await states(station)) == runs
    (row,) = await station.fetch("SELECT * FROM penstock.recurrences WHERE id = $1", id)
    assert (row["ticks"], row["missed"], row["due_at"] > clock.now()) == (runs, passed_over, True)


async def test_a_parked_run_that_is_cancelled_or_moved_is_parked_no_longer(station: Station) -> None:
    await pause(station)
    run_ids = await admit_all(station, [root(), root()])
    await dispatch_due(station.furnish())
    await station.fetch(
        "UPDATE penstock.runs SET state = 'cancelled', finished_at = clock_timestamp() WHERE id = $1", run_ids[0]
    )
    await station.fetch(
        "UPDATE penstock.runs SET scheduled_at = clock_timestamp() + interval '1 hour' WHERE id = $1", run_ids[1]
    )
    assert not await station.fetchval("SELECT count(*) FROM penstock.runs WHERE parked_at IS NOT NULL")


async def test_a_pause_of_a_list_or_a_time_holds_that_alone(station: Station) -> None:
    now, list_id = clock.now(), new_run_id()
    await pause(station, ScheduleFilter(ENVIRONMENT, list_id=list_id))
    await pause(station, ScheduleFilter(ENVIRONMENT, since=now - timedelta(hours=2), until=now - timedelta(hours=1)))
    item = root()
    requests = [
        item._replace(request=item.request._replace(list_id=list_id)),
        root(scheduled_at=now - timedelta(minutes=90)),
        root(scheduled_at=now - timedelta(minutes=30)),
    ]
    run_ids = await admit_all(station, requests)
    found = {row["id"]: row["state"] for row in await station.runs()}
    assert [found[run_id] for run_id in run_ids] == ["scheduled", "scheduled", "queued"]
