"""The scheduler's loops: what is due is dispatched once, what is lost comes back, and rivals do no harm."""

import asyncio
import statistics
from contextlib import AsyncExitStack
from datetime import timedelta

import orjson
import pytest

from penstock import clock
from penstock.broker.inprocess import InProcessBroker
from penstock.contracts.envelope import Message
from penstock.contracts.messages import RunEvent
from penstock.contracts.topology import DEFAULT_LANE, EXECUTE_EXCHANGE, topology
from penstock.db import Database
from penstock.errors import BrokerUnavailable
from penstock_scheduler.loops.dispatching import MAX_WAITING, dispatch_due, redispatch_lost
from penstock_scheduler.loops.reaping import reap_leases
from penstock_scheduler.loops.upkeep import DAYS_AHEAD, delete_expired_keys, make_partitions, measure_backlog
from penstock_scheduler.repository import runs as run_repository
from penstock_scheduler.repository.aging import ByDay
from penstock_scheduler.rules import MAX_REST_SECONDS
from tests.eventually import eventually
from tests.integration.scheduler.taking_turns import admit_all, let_it_run, root, stop_chain
from tests.integration.scheduling import ENVIRONMENT, Station


@pytest.fixture
async def quiet(broker: InProcessBroker, database: Database) -> Station:
    """A station where no executor reads its queue."""
    station = Station(database, broker)
    await station.open(consumes_executions=False)
    return station


async def test_due_runs_are_dispatched_by_priority_then_time_and_others_not(station: Station) -> None:
    now = clock.now()
    late = [root(scheduled_at=now + timedelta(hours=1)) for _ in range(3)]
    due = [root(scheduled_at=now + timedelta(hours=2 + n), priority=9 - n) for n in range(3)]
    await admit_all(station, [*late, *due])
    await station.fetch(
        "UPDATE penstock.runs SET scheduled_at = scheduled_at - interval '1 day' WHERE id = ANY($1::uuid[])",
        [r.run_id for r in due],
    )
    room = station.furnish()
    counts = await dispatch_due(room)
    await station.executor.receive()
    assert (counts.done["dispatched"], station.executor.run_ids()) == (3, [request.run_id for request in reversed(due)])
    assert counts.wait_seconds == MAX_REST_SECONDS
    assert (await dispatch_due(room)).done["dispatched"] == 0


async def test_rivals_dispatch_each_due_run_once(station: Station) -> None:
    run_ids = await admit_all(station, [root(scheduled_at=clock.now() + timedelta(hours=1)) for _ in range(1500)])
    await station.fetch("UPDATE penstock.runs SET scheduled_at = clock_timestamp()")
    rooms = [station.furnish() for _ in range(3)]
    for _ in range(3):
        await asyncio.gather(*(dispatch_due(room) for room in rooms))
    for room in rooms:
        await room.dispatches.drain()
    await eventually(lambda: len(station.executor.run_ids()) >= len(run_ids))
    assert sorted(station.executor.run_ids()) == sorted(run_ids)


async def test_many_due_over_a_second_start_soon_and_never_early(station: Station) -> None:
    soon = clock.now() + timedelta(seconds=3)
    async with station.scheduler(), station.scheduler():
        requests = [root(scheduled_at=soon + timedelta(milliseconds=n / 2)) for n in range(2000)]
        await admit_all(station, requests)
        await station.publish(raw=b"{}", message_type="scheduler.wake.v1", asks=False)
        await eventually(lambda: len(station.executor.run_ids()) >= 2000, within=30)
    rows = await station.fetch(
        "SELECT extract(epoch FROM dispatched_at - scheduled_at)::float8 AS late FROM penstock.runs"
    )
    lateness = [row["late"] for row in rows]
    assert min(lateness) >= 0
    # Generous, since the machine may be busy: a loop that polls once a second would have a median of half a second.
    assert statistics.median(lateness) < 0.2
    assert len(station.executor.run_ids()) == 2000


async def test_due_run_of_a_stopped_chain_is_terminated_not_dispatched(station: Station) -> None:
    request = root(scheduled_at=clock.now() + timedelta(hours=1))
    await admit_all(station, [request])
    await station.fetch("UPDATE penstock.runs SET scheduled_at = clock_timestamp()")
    await stop_chain(station, request.run_id)
    counts = await dispatch_due(station.furnish())
    (run,) = await station.runs()
    assert (counts.done, run["state"], run["error"]["kind"]) == (
        {"dispatched": 0, "terminated": 1, "parked": 0},
        "terminated",
        "chain_stopped",
    )
    await eventually(lambda: f"{ENVIRONMENT}.run.terminated" in station.events.routing_keys)


async def test_lost_dispatch_is_repeated_when_the_queue_is_empty(station: Station) -> None:
    run_ids = await admit_all(station, [root() for _ in range(3)])
    rooms = [station.furnish(), station.furnish()]
    assert [(await redispatch_lost(room)).done["redispatched"] for room in rooms] == [0, 0]
    await station.fetch("UPDATE penstock.runs SET dispatched_at = dispatched_at - interval '6 seconds'")
    counts = await asyncio.gather(*(redispatch_lost(room) for room in rooms))
    await eventually(lambda: len(station.executor.run_ids()) >= 3)
    assert sum(count.done["redispatched"] for count in counts) == 3
    assert sorted(station.executor.run_ids()) == sorted(run_ids)


async def test_with_a_backlog_only_what_was_dispatched_long_ago_is_repeated(quiet: Station) -> None:
    room = quiet.furnish()
    old, _ = await admit_all(quiet, [root(), root()])
    await quiet.fetch("UPDATE penstock.runs SET dispatched_at = dispatched_at - interval '30 seconds'")
    await quiet.broker.publish(EXECUTE_EXCHANGE, DEFAULT_LANE, Message(b"anything that waits"))
    assert (await redispatch_lost(room)).done["redispatched"] == 0
    await quiet.fetch("UPDATE penstock.runs SET dispatched_at = dispatched_at - interval '1 minute' WHERE id = $1", old)
    assert (await redispatch_lost(room)).done["redispatched"] == 1


async def test_nothing_is_repeated_while_the_queue_only_grows(quiet: Station) -> None:
    room = quiet.furnish()
    await admit_all(quiet, [root()])
    for _ in range(MAX_WAITING + 1):
        await quiet.broker.publish(EXECUTE_EXCHANGE, DEFAULT_LANE, Message(b"anything that waits"))
    await quiet.fetch("UPDATE penstock.runs SET dispatched_at = dispatched_at - interval '1 hour'")
    assert (await redispatch_lost(room)).done["redispatched"] == 0


async def test_expired_lease_is_reaped_once_by_rivals_and_a_living_one_is_left_alone(station: Station) -> None:
    dead, living = await admit_all(station, [root(), root()])
    await let_it_run(station, dead, lease=timedelta(seconds=-1))
    await let_it_run(station, living, lease=timedelta(seconds=15))
    counts = await asyncio.gather(*(reap_leases(station.furnish()) for _ in range(3)))
    assert sum(count.done["reaped"] for count in counts) == 1
    await station.executor.receive()
    rows = {row["id"]: row for row in await station.runs()}
    assert (rows[dead]["state"], rows[dead]["crashes"], rows[dead]["owner"], rows[dead]["attempt"]) == (
        "queued",
        1,
        None,
        1,
    )
    assert rows[living]["state"] == "running"
    assert station.executor.run_ids() == [dead]


async def test_third_crash_fails_the_run_for_good(station: Station) -> None:
    (run_id,) = await admit_all(station, [root()])
    await let_it_run(station, run_id, crashes=2, lease=timedelta(seconds=-1))
    assert (await reap_leases(station.furnish())).done == {"reaped": 1, "failed": 1}
    (run,) = await station.runs()
    assert (run["state"], run["crashes"], run["error"]["kind"], run["lease_expires_at"]) == (
        "failed",
        3,
        "crashed",
        None,
    )
    (line,) = await station.fetch("SELECT * FROM penstock.logs WHERE run_id = $1", run_id)
    assert line["event"] == "error occurred during workflow execution"
    await eventually(lambda: f"{ENVIRONMENT}.run.failed" in station.events.routing_keys)
    event = RunEvent.decode(station.events.messages[-1].body)
    assert (event.id, event.reason) == (run_id, "crashed")


@pytest.mark.parametrize(("outcome", "crashes"), [("succeeded", 1), ("failed", 3)])
async def test_a_crash_after_a_finished_step_counts_as_the_first(station: Station, outcome: str, crashes: int) -> None:
    (run_id,) = await admit_all(station, [root()])
    await let_it_run(station, run_id, crashes=2, lease=timedelta(seconds=-1))
    await station.fetch(
        "INSERT INTO penstock.steps (run_id, step, action, outcome, attempt, started_at) VALUES ($1, 's', 'log', $2, "
        "1, now())",
        run_id,
        outcome,
    )
    await reap_leases(station.furnish())
    (run,) = await station.runs()
    assert (run["state"], run["crashes"]) == ("failed" if crashes == 3 else "queued", crashes)


async def test_work_goes_on_while_the_broker_is_away(database: Database) -> None:
    broker = InProcessBroker(topology())
    station = Station(database, broker)
    await station.open()
    await broker.close()
    room = station.furnish()
    with pytest.raises(BrokerUnavailable):
        await station.publish()
    await admit_all(station, [root(scheduled_at=clock.now() + timedelta(hours=1))])
    await station.fetch("UPDATE penstock.runs SET scheduled_at = clock_timestamp()")
    assert (await dispatch_due(room)).done["dispatched"] == 1
    assert (await station.runs())[0]["state"] == "queued"


async def test_partitions_are_made_ahead_by_rivals_and_take_the_lines(station: Station) -> None:
    rooms = [station.furnish() for _ in range(3)]
    made = await asyncio.gather(*(make_partitions(room) for room in rooms))
    assert sum(counts.done["partitions"] for counts in made) == len(ByDay) * (DAYS_AHEAD + 1)
    await station.fetch("INSERT INTO penstock.logs (environment, level, event) VALUES ('live', 'info', 'x')")
    assert await station.fetchval("SELECT count(*) FROM ONLY penstock.logs_default") == 0
    assert (await make_partitions(rooms[0])).done["partitions"] == 0


async def test_today_is_left_to_the_default_partition_once_it_has_lines_there(station: Station) -> None:
    await station.fetch("INSERT INTO penstock.logs (environment, level, event) VALUES ('live', 'info', 'x')")
    assert (await make_partitions(station.furnish())).done["partitions"] == len(ByDay) * (DAYS_AHEAD + 1) - 1


async def test_expired_keys_are_forgotten_and_others_kept(station: Station) -> None:
    async with station.scheduler():
        await asyncio.gather(*(station.ask(message_id=key) for key in ("old", "new")))
    await station.fetch(
        "UPDATE penstock.idempotency_keys SET created_at = created_at - interval '25 hours' WHERE key = 'old'"
    )
    assert (await delete_expired_keys(station.furnish())).done["keys"] == 1
    assert await station.fetchval("SELECT array_agg(key) FROM penstock.idempotency_keys") == ["new"]


async def test_backlog_is_measured(station: Station) -> None:
    await admit_all(
        station,
        [
            root(),
            root(scheduled_at=clock.now() - timedelta(minutes=1)),
            root(scheduled_at=clock.now() + timedelta(1)),
        ],
    )
    async with station.database.connection() as conn:
        backlog = await run_repository.measure_backlog(conn)
    assert (backlog.ready, backlog.scheduled) == (2, 1)
    assert 60 <= backlog.oldest_seconds < 120
    await measure_backlog(station.furnish())


async def test_soft_stop_finishes_what_was_taken(station: Station) -> None:
    async with AsyncExitStack() as stack:
        stop = await stack.enter_async_context(station.scheduler())
        sent = [await station.publish() for _ in range(300)]
        stop.drain()
    answers = [orjson.loads(message.body) for message in station.replies.messages]
    assert len(await station.runs()) == len(answers) <= len(sent)
