"""What a scheduler does by itself: due runs, lost dispatches, dead leases, lists, partitions. Always with rivals for
the same rows.
"""

import asyncio
import statistics
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import orjson
import pytest

from penstock import clock
from penstock.broker.inprocess import InProcessBroker
from penstock.contracts.envelope import Message
from penstock.contracts.messages import ListEvent, RunEvent
from penstock.contracts.topology import DEFAULT_LANE, EXECUTE_EXCHANGE, topology
from penstock.db import Connection, Database
from penstock.domain.ids import child_run_id, new_run_id
from penstock.domain.states import Trigger
from penstock.errors import BrokerUnavailable
from penstock.runs.admission import RunRequest, admit
from penstock.runs.lists import ListRequest, insert_list
from penstock_scheduler.loops.dispatching import MOST_WAITING, dispatch_due, redispatch_lost
from penstock_scheduler.loops.lists import advance_sequential, expand_chunk, expand_lists, finish_lists
from penstock_scheduler.loops.reaping import reap_leases
from penstock_scheduler.loops.upkeep import DAYS_AHEAD, delete_expired_keys, make_partitions, measure_backlog
from penstock_scheduler.repository import runs as run_repository
from tests.eventually import eventually
from tests.integration.scheduling import ENVIRONMENT, WORKFLOWS, Station

MANY: Final = 10_000


@pytest.fixture
async def quiet(broker: InProcessBroker, database: Database) -> Station:
    """A station where no executor reads its queue."""
    station = Station(database, broker)
    await station.open(consumes_executions=False)
    return station


def _root(scheduled_at: datetime | None = None, *, priority: int = 5) -> RunRequest:
    return RunRequest(
        new_run_id(),
        ENVIRONMENT,
        "notify",
        1,
        Trigger.MESSAGE,
        {"name": "a"},
        scheduled_at=scheduled_at,
        priority=priority,
    )


async def _admit(station: Station, requests: Sequence[RunRequest]) -> list[UUID]:
    await station.database.in_transaction(lambda conn: admit(conn, requests))
    return [request.run_id for request in requests]


async def _let_it_run(station: Station, run_id: UUID, *, crashes: int = 0, lease: timedelta) -> None:
    await station.fetch(
        """
        UPDATE penstock.runs
        SET state = 'running', attempt = attempt + 1, owner = 'dead', crashes = $2, started_at = clock_timestamp(),
            lease_expires_at = clock_timestamp() + $3
        WHERE id = $1
        """,
        run_id,
        crashes,
        lease,
    )


async def test_due_runs_are_dispatched_by_priority_then_time_and_others_not(station: Station) -> None:
    now = clock.now()
    late = [_root(scheduled_at=now + timedelta(hours=1)) for _ in range(3)]
    due = [_root(scheduled_at=now + timedelta(hours=2 + n), priority=9 - n) for n in range(3)]
    await _admit(station, [*late, *due])
    await station.fetch(
        "UPDATE penstock.runs SET scheduled_at = scheduled_at - interval '1 day' WHERE id = ANY($1::uuid[])",
        [r.run_id for r in due],
    )
    room = station.furnish()
    counts = await dispatch_due(room)
    await station.executor.receive()
    assert (counts.done["dispatched"], station.executor.run_ids()) == (3, [request.run_id for request in reversed(due)])
    assert counts.wait_seconds == 1.0
    assert (await dispatch_due(room)).done["dispatched"] == 0


async def test_rivals_dispatch_each_due_run_once(station: Station) -> None:
    run_ids = await _admit(station, [_root(scheduled_at=clock.now() + timedelta(hours=1)) for _ in range(1500)])
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
        requests = [_root(scheduled_at=soon + timedelta(milliseconds=n / 2)) for n in range(2000)]
        await _admit(station, requests)
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
    request = _root(scheduled_at=clock.now() + timedelta(hours=1))
    await _admit(station, [request])
    await station.fetch("UPDATE penstock.runs SET scheduled_at = clock_timestamp()")
    await _stop_chain(station, request.run_id)
    counts = await dispatch_due(station.furnish())
    (run,) = await station.runs()
    assert (counts.done, run["state"], run["error"]["kind"]) == (
        {"dispatched": 0, "terminated": 1},
        "terminated",
        "chain_stopped",
    )
    await eventually(lambda: f"{ENVIRONMENT}.run.terminated" in station.events.routing_keys)


async def _stop_chain(station: Station, chain_id: UUID) -> None:
    await station.fetch(
        "INSERT INTO penstock.chains (id, environment, runs, stopped_at) VALUES ($1, $2, 1, clock_timestamp())",
        chain_id,
        ENVIRONMENT,
    )


async def test_lost_dispatch_is_repeated_when_the_queue_is_empty(station: Station) -> None:
    run_ids = await _admit(station, [_root() for _ in range(3)])
    rooms = [station.furnish(), station.furnish()]
    assert [(await redispatch_lost(room)).done["redispatched"] for room in rooms] == [0, 0]
    await station.fetch("UPDATE penstock.runs SET dispatched_at = dispatched_at - interval '6 seconds'")
    counts = await asyncio.gather(*(redispatch_lost(room) for room in rooms))
    await eventually(lambda: len(station.executor.run_ids()) >= 3)
    assert sum(count.done["redispatched"] for count in counts) == 3
    assert sorted(station.executor.run_ids()) == sorted(run_ids)


async def test_with_a_backlog_only_what_was_dispatched_long_ago_is_repeated(quiet: Station) -> None:
    room = quiet.furnish()
    old, _ = await _admit(quiet, [_root(), _root()])
    await quiet.fetch("UPDATE penstock.runs SET dispatched_at = dispatched_at - interval '30 seconds'")
    await quiet.broker.publish(EXECUTE_EXCHANGE, DEFAULT_LANE, Message(b"anything that waits"))
    assert (await redispatch_lost(room)).done["redispatched"] == 0
    await quiet.fetch("UPDATE penstock.runs SET dispatched_at = dispatched_at - interval '1 minute' WHERE id = $1", old)
    assert (await redispatch_lost(room)).done["redispatched"] == 1


async def test_nothing_is_repeated_while_the_queue_only_grows(quiet: Station) -> None:
    room = quiet.furnish()
    await _admit(quiet, [_root()])
    for _ in range(MOST_WAITING + 1):
        await quiet.broker.publish(EXECUTE_EXCHANGE, DEFAULT_LANE, Message(b"anything that waits"))
    await quiet.fetch("UPDATE penstock.runs SET dispatched_at = dispatched_at - interval '1 hour'")
    assert (await redispatch_lost(room)).done["redispatched"] == 0


async def test_expired_lease_is_reaped_once_by_rivals_and_a_living_one_is_left_alone(station: Station) -> None:
    dead, living = await _admit(station, [_root(), _root()])
    await _let_it_run(station, dead, lease=timedelta(seconds=-1))
    await _let_it_run(station, living, lease=timedelta(seconds=15))
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
    (run_id,) = await _admit(station, [_root()])
    await _let_it_run(station, run_id, crashes=2, lease=timedelta(seconds=-1))
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
    (run_id,) = await _admit(station, [_root()])
    await _let_it_run(station, run_id, crashes=2, lease=timedelta(seconds=-1))
    await station.fetch(
        "INSERT INTO penstock.steps (run_id, step, action, outcome, attempt, started_at) VALUES ($1, 's', 'log', $2, "
        "1, now())",
        run_id,
        outcome,
    )
    await reap_leases(station.furnish())
    (run,) = await station.runs()
    assert (run["state"], run["crashes"]) == ("failed" if crashes == 3 else "queued", crashes)


async def test_list_of_ten_thousand_is_expanded_exactly_once_by_rivals(station: Station) -> None:
    items = [{"name": f"n{number}"} for number in range(MANY)]
    async with station.scheduler(), station.scheduler():
        sent = {"parameters": {"urgency": 7}, "list": {"items": items}, "message_id": "the list"}
        answer = await station.ask(**sent)
        again = await station.ask(**sent)
        await eventually(lambda: _state_is(station, answer["list_id"], "expanded"), within=60)
        await eventually(lambda: len(station.executor.run_ids()) >= MANY, within=60)
    list_id = UUID(str(answer["list_id"]))
    rows = await station.fetch("SELECT id, depth, list_id, parameters FROM penstock.runs")
    assert {row["id"] for row in rows} == {child_run_id(list_id, str(number)) for number in range(MANY)}
    assert {(row["depth"], row["list_id"], row["parameters"]["urgency"]) for row in rows} == {(0, list_id, 7)}
    assert {row["parameters"]["name"] for row in rows} == {item["name"] for item in items}
    assert (again["list_id"], again["duplicate"]) == (answer["list_id"], True)
    assert len(set(station.executor.run_ids())) == MANY


async def _state_is(station: Station, list_id: object, state: str) -> bool:
    return await station.fetchval("SELECT state FROM penstock.lists WHERE id = $1::text::uuid", str(list_id)) == state


async def test_all_items_of_a_list_share_one_depth_and_its_interval_spreads_them(station: Station) -> None:
    async with station.scheduler():
        parent = str((await station.ask(headers={"depth": 3}))["run_id"])
        await station.ask(
            list={"items": ["a", "b", {"name": "c"}], "interval": "10s"},
            parameters={"urgency": 2},
            headers={"parent-run-id": parent},
        )
        await eventually(lambda: _count_is(station, 4))
    runs = [run for run in await station.runs() if run["list_id"]]
    runs.sort(key=lambda run: run["scheduled_at"])
    assert [(run["depth"], run["trigger"], run["parameters"]["name"]) for run in runs] == [
        (4, "run", name) for name in "abc"
    ]
    assert [run["state"] for run in runs] == ["queued", "scheduled", "scheduled"]
    assert runs[2]["scheduled_at"] - runs[0]["scheduled_at"] == timedelta(seconds=20)


async def _count_is(station: Station, count: int) -> bool:
    return len(await station.runs()) == count


async def test_bad_item_refuses_the_whole_list_and_is_named(station: Station) -> None:
    async with station.scheduler():
        problem = await station.ask(
            list={"items": [{"name": "a"}] * 700 + [{"name": 5, "urgency": "x"}]}, parameters={}
        )
    assert "list.items.700" in str(problem["detail"])
    assert await station.fetch("SELECT FROM penstock.lists") == []


async def test_list_is_finished_and_announced_when_all_its_runs_have_ended(station: Station) -> None:
    room = station.furnish()
    list_id = await _store_list(station, 3)
    await expand_lists(room)
    assert (await finish_lists(room)).done["finished"] == 0
    await station.fetch("UPDATE penstock.runs SET state = 'succeeded', finished_at = clock_timestamp()")
    finished = await asyncio.gather(finish_lists(room), finish_lists(station.furnish()))
    assert sum(counts.done["finished"] for counts in finished) == 1
    await eventually(lambda: f"{ENVIRONMENT}.list.finished" in station.events.routing_keys)
    event = ListEvent.decode(station.events.messages[-1].body)
    assert (event.list_id, event.total) == (list_id, 3)


async def _store_list(station: Station, items: int, *, is_sequential: bool = False) -> UUID:
    request = ListRequest(new_run_id(), ENVIRONMENT, "notify", clock.now(), is_sequential=is_sequential)

    async def store(conn: Connection) -> None:
        await insert_list(conn, request=request, parameters=[{"name": f"{number}"} for number in range(items)])

    await station.database.in_transaction(store)
    return request.id


async def test_sequential_list_starts_each_run_when_the_one_before_has_ended(station: Station) -> None:
    rooms = [station.furnish(), station.furnish()]
    await _store_list(station, 3, is_sequential=True)
    assert await expand_chunk(rooms[0]) is None
    for number in range(3):
        for _ in range(2):
            await asyncio.gather(*(advance_sequential(room) for room in rooms))
        runs = [run for run in await station.runs() if run["state"] == "queued"]
        assert [run["parameters"]["name"] for run in runs] == [str(number)]
        await station.fetch(
            "UPDATE penstock.runs SET state = 'failed', finished_at = clock_timestamp() WHERE state = 'queued'"
        )
    await advance_sequential(rooms[0])
    assert (await finish_lists(rooms[0])).done["finished"] == 1


async def test_list_whose_items_no_longer_fit_fails_and_says_so(station: Station) -> None:
    list_id = await _store_list(station, 3)
    await station.deploy(WORKFLOWS.replace("name: text", "name: number"))
    room = station.furnish()
    await expand_lists(room)
    (stored,) = await station.fetch("SELECT * FROM penstock.lists")
    assert (stored["id"], stored["state"], stored["error"]["kind"]) == (list_id, "failed", "invalid_parameter")
    (line,) = await station.fetch("SELECT * FROM penstock.logs WHERE level = 'error'")
    assert "item 0" in line["message"]
    assert await station.runs() == []


async def test_list_that_cannot_be_stored_fails_and_others_go_on(station: Station) -> None:
    bad, good = await _store_list(station, 2), await _store_list(station, 2)
    # As if a definition had let through what a column refuses.
    await station.fetch("UPDATE penstock.lists SET priority = 99 WHERE id = $1", bad)
    room = station.furnish()
    with pytest.raises(Exception, match="priority"):
        await expand_lists(room)
    await expand_lists(room)
    states = {row["id"]: row["state"] for row in await station.fetch("SELECT id, state FROM penstock.lists")}
    assert states == {bad: "failed", good: "expanded"}


async def test_list_survives_a_deployment_between_two_chunks(station: Station) -> None:
    room = station.furnish()
    await _store_list(station, 1500)
    await expand_chunk(room)
    await station.deploy(WORKFLOWS.replace("workflow: tidy", "workflow: tidier"))
    await expand_lists(room)
    assert len(await station.runs()) == 1500


async def test_list_beyond_the_depth_limit_is_terminated_run_by_run(station: Station) -> None:
    async with station.scheduler():
        await station.ask(list={"items": ["a", "b"]}, parameters={"urgency": 1}, headers={"depth": 11})
        await eventually(lambda: _count_is(station, 2))
    assert {run["state"] for run in await station.runs()} == {"terminated"}


async def test_work_goes_on_while_the_broker_is_away(database: Database) -> None:
    broker = InProcessBroker(topology())
    station = Station(database, broker)
    await station.open()
    await broker.close()
    room = station.furnish()
    with pytest.raises(BrokerUnavailable):
        await station.publish()
    await _admit(station, [_root(scheduled_at=clock.now() + timedelta(hours=1))])
    await station.fetch("UPDATE penstock.runs SET scheduled_at = clock_timestamp()")
    assert (await dispatch_due(room)).done["dispatched"] == 1
    assert (await station.runs())[0]["state"] == "queued"


async def test_partitions_are_made_ahead_by_rivals_and_take_the_lines(station: Station) -> None:
    rooms = [station.furnish() for _ in range(3)]
    made = await asyncio.gather(*(make_partitions(room) for room in rooms))
    assert sum(counts.done["partitions"] for counts in made) == DAYS_AHEAD + 1
    await station.fetch("INSERT INTO penstock.logs (environment, level, event) VALUES ('live', 'info', 'x')")
    assert await station.fetchval("SELECT count(*) FROM ONLY penstock.logs_default") == 0
    assert (await make_partitions(rooms[0])).done["partitions"] == 0


async def test_today_is_left_to_the_default_partition_once_it_has_lines_there(station: Station) -> None:
    await station.fetch("INSERT INTO penstock.logs (environment, level, event) VALUES ('live', 'info', 'x')")
    assert (await make_partitions(station.furnish())).done["partitions"] == DAYS_AHEAD


async def test_expired_keys_are_forgotten_and_others_kept(station: Station) -> None:
    async with station.scheduler():
        await asyncio.gather(*(station.ask(message_id=key) for key in ("old", "new")))
    await station.fetch(
        "UPDATE penstock.idempotency_keys SET created_at = created_at - interval '25 hours' WHERE key = 'old'"
    )
    assert (await delete_expired_keys(station.furnish())).done["keys"] == 1
    assert await station.fetchval("SELECT array_agg(key) FROM penstock.idempotency_keys") == ["new"]


async def test_backlog_is_measured(station: Station) -> None:
    await _admit(
        station,
        [
            _root(),
            _root(scheduled_at=clock.now() - timedelta(minutes=1)),
            _root(scheduled_at=clock.now() + timedelta(1)),
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
        stop.request()
    answers = [orjson.loads(message.body) for message in station.replies.messages]
    assert len(await station.runs()) == len(answers) <= len(sent)
