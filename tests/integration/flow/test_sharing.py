"""Runs of a large chain or list are handed to executors a few at a time, in turns with those of others."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

from penstock.broker.inprocess import InProcessBroker
from penstock.broker.publisher import Publisher
from penstock.contracts.topology import topology
from penstock.db import Database
from penstock.domain.ids import child_run_id
from penstock.domain.lineage import Lineage
from penstock.domain.runs import Admitted
from penstock.domain.schedule import ScheduleFilter
from penstock.domain.states import RunState, Trigger
from penstock.runs.admission import admit
from penstock.runs.floods import MIN_FLOOD, Floods
from penstock.runs.requests import CheckedRun, RunRequest
from penstock.runs.schedule.pauses import pause_schedule
from penstock.runs.views.runs import find_run
from penstock.runtime import Resources, Stop
from penstock_ingress.accepting.acceptance import Acceptance, Entry
from penstock_scheduler.loops.sharing import share_out
from penstock_scheduler.repository.runs import measure_backlog
from penstock_scheduler.room import Room, furnish
from penstock_scheduler.rules import MIN_AHEAD
from tests.factories import build_run
from tests.integration.scheduling import build_settings

ENVIRONMENT = "live"


@asynccontextmanager
async def scheduling(database: Database) -> AsyncIterator[Room]:
    """A scheduler whose loops the test takes the turns of."""
    room = furnish(build_settings(), Resources(database, InProcessBroker(topology())), Stop())
    yield room
    await room.release()


async def gather_crowd(database: Database, count: int, *, after: str = "0 s", priority: int = 5) -> UUID:
    """Due runs of one chain, none of which was handed over."""
    chain_id = uuid4()
    async with database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO penstock.runs (
                id, chain_id, crowd, environment, workflow, trigger, state, depth, is_bulk, priority, scheduled_at
            )
            SELECT gen_random_uuid(), $1, $1, 'live', 'doubling', 'run', 'scheduled', 1, true, $4,
                   clock_timestamp() - interval '1 minute' + $3::text::interval
            FROM generate_series(1, $2)
            """,
            chain_id, count, after, priority,
        )  # fmt: skip
    return chain_id


async def count(database: Database, chain_id: UUID, state: str) -> int:
    async with database.connection() as conn:
        found: int = await conn.fetchval(
            "SELECT count(*) FROM penstock.runs WHERE chain_id = $1 AND state = $2", chain_id, state
        )
    return found


async def take_up(database: Database) -> None:
    """Claim and end whatever is queued, as executors would."""
    async with database.connection() as conn:
        await conn.execute(
            "UPDATE penstock.runs SET state = 'cancelled', finished_at = clock_timestamp() WHERE state = 'queued'"
        )


async def test_a_run_of_a_chain_that_has_grown_large_waits_for_its_turn_and_says_so(database: Database) -> None:
    async with database.connection() as conn:
        root = build_run(environment=ENVIRONMENT)
        await admit(conn, [root])
        parent = root.run_id
        requests = [
            RunRequest(
                child_run_id(parent, f"{number}"), ENVIRONMENT, "doubling", {}, Trigger.RUN,
                Lineage(1, parent, parent),
            )
            for number in range(300)
        ]  # fmt: skip
        few = await admit(conn, [CheckedRun(request, 0) for request in requests[:100]])
        await conn.execute("UPDATE penstock.chains SET runs = 201")
        more = await admit(conn, [CheckedRun(request, 0) for request in requests[100:]])
        states = [Counter(run.run.state for run in batch if isinstance(run, Admitted)) for batch in (few, more)]
        assert states == [{RunState.QUEUED: 100}, {RunState.QUEUED: 10, RunState.SCHEDULED: 190}]
        again = await admit(conn, [CheckedRun(requests[0]._replace(run_id=uuid4()), 0)])
        assert isinstance(again[0], Admitted)
        assert again[0].run.state is RunState.SCHEDULED, "ten are queued"
        shown = await find_run(conn, run_id=again[0].run.id)
        assert shown is not None
        assert shown.waiting_for is not None
        assert (shown.waiting_for.reason, shown.waiting_for.key) == ("executor", str(parent))


async def test_no_more_of_a_chain_is_queued_than_executors_take_up(database: Database) -> None:
    async with scheduling(database) as room:
        chain = await gather_crowd(database, 500)
        for _ in range(3):
            await share_out(room)
        assert await count(database, chain, "queued") <= 2 * MIN_AHEAD
        turns = 0
        while await count(database, chain, "scheduled"):
            await take_up(database)
            await share_out(room)
            turns += 1
        assert turns <= 4, "what they take up in one turn is twice as much in the next"


async def test_chains_take_turns_however_many_runs_they_have_and_whoever_came_first(database: Database) -> None:
    async with scheduling(database) as room:
        large = await gather_crowd(database, 2000)
        small = await gather_crowd(database, 20, after="30 s")
        await share_out(room)
        assert await count(database, small, "queued") == 20
        assert 0 < await count(database, large, "queued") <= MIN_AHEAD


async def test_the_first_priority_of_a_chain_comes_first(database: Database) -> None:
    async with scheduling(database) as room:
        chain = await gather_crowd(database, 300)
        async with database.connection() as conn:
            urgent = await conn.fetchval(
                "UPDATE penstock.runs SET priority = 0, scheduled_at = clock_timestamp() WHERE id = "
                "(SELECT id FROM penstock.runs ORDER BY id LIMIT 1) RETURNING id"
            )
            await share_out(room)
            assert await conn.fetchval("SELECT state FROM penstock.runs WHERE id = $1", urgent) == "queued"
        assert await count(database, chain, "scheduled") == 300 - MIN_AHEAD


async def test_what_of_a_chain_has_not_been_handed_over_ends_with_its_stop(database: Database) -> None:
    async with scheduling(database) as room:
        chain = await gather_crowd(database, 50)
        async with database.connection() as conn:
            await conn.execute(
                "INSERT INTO penstock.chains (id, environment, runs, stopped_at) VALUES ($1, 'live', 50, now())", chain
            )
        counts = await share_out(room)
        assert counts.done == {"shared": 0, "terminated": 50, "parked": 0}
        assert await count(database, chain, "terminated") == 50


async def test_a_pause_holds_a_chain_and_others_continue(database: Database) -> None:
    async with scheduling(database) as room:
        paused, other = await gather_crowd(database, 200), await gather_crowd(database, 200)
        of = ScheduleFilter(ENVIRONMENT, chain_id=paused)
        await database.in_transaction(lambda conn: pause_schedule(conn, of=of, note=None))
        for _ in range(8):
            await share_out(room)
            await take_up(database)
        assert (await count(database, paused, "scheduled"), await count(database, other, "scheduled")) == (200, 0)


async def test_runs_that_are_due_later_are_not_handed_over_before(database: Database) -> None:
    async with scheduling(database) as room:
        chain = await gather_crowd(database, 5, after="1 hour")
        counts = await share_out(room)
        assert (counts.done["shared"], await count(database, chain, "scheduled")) == (0, 5)
        assert counts.wait_seconds is not None
        assert counts.wait_seconds > 0.5


async def test_with_more_chains_than_one_look_takes_each_has_its_turn(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO penstock.runs (
                id, chain_id, crowd, environment, workflow, trigger, state, depth, is_bulk, scheduled_at
            )
            SELECT gen_random_uuid(), i.id, i.id, 'live', 'doubling', 'run', 'scheduled', 1, true, clock_timestamp()
            FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, 2100)) i
            """
        )
        async with scheduling(database) as room:
            for _ in range(4):
                await share_out(room)
        assert await conn.fetchval("SELECT count(*) FROM penstock.runs WHERE state = 'scheduled'") == 0


async def test_a_large_chain_that_continues_run_by_run_waits_for_nobody(database: Database) -> None:
    async with database.connection() as conn:
        root = build_run(environment=ENVIRONMENT)
        await admit(conn, [root])
        child = RunRequest(
            uuid4(), ENVIRONMENT, "hop", {}, Trigger.RUN, Lineage(1, root.run_id, root.run_id)
        )  # fmt: skip
        await admit(conn, [CheckedRun(child, 0)])
        await conn.execute("UPDATE penstock.chains SET runs = 10000")
        (next_one,) = await admit(conn, [CheckedRun(child._replace(run_id=uuid4()), 0)])
        assert isinstance(next_one, Admitted)
        assert (next_one.run.state, next_one.run.is_bulk) == (RunState.QUEUED, True)


async def flood(database: Database, count: int) -> None:
    """So many runs of `told`, each a chain of its own, that wait for executors."""
    async with database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO penstock.runs (
                id, chain_id, environment, workflow, trigger, state, depth, scheduled_at, dispatched_at
            )
            SELECT i.id, i.id, 'live', 'told', 'webhook', 'queued', 0, clock_timestamp(), clock_timestamp()
            FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, $1)) i
            """,
            count,
        )


def ask(workflow: str, trigger: Trigger) -> CheckedRun:
    return CheckedRun(RunRequest(uuid4(), ENVIRONMENT, workflow, {}, trigger), 0)


async def states_of(database: Database, runs: Sequence[CheckedRun]) -> list[RunState]:
    async with database.connection() as conn:
        outcomes = await admit(conn, runs)
    return [outcome.run.state for outcome in outcomes if isinstance(outcome, Admitted)]


async def test_what_nobody_waits_for_takes_turns_in_a_flood_and_calls_and_others_do_not(database: Database) -> None:
    floods, queued, held = Floods(database), RunState.QUEUED, RunState.SCHEDULED
    asked = [
        ask("told", Trigger.WEBHOOK), ask("told", Trigger.MESSAGE), ask("told", Trigger.CHANGE),
        ask("told", Trigger.API), ask("other", Trigger.WEBHOOK), ask("told", Trigger.MANUAL),
    ]  # fmt: skip
    change = ask("told", Trigger.CHANGE)
    await flood(database, MIN_FLOOD - 1)
    await floods.look()
    assert await states_of(database, floods.mark(asked[:1])) == [queued]
    await floods.look()
    marked = floods.mark([run._replace(request=run.request._replace(run_id=uuid4())) for run in asked])
    assert await states_of(database, marked) == [held, held, held, queued, queued, queued]
    of_a_run = change._replace(request=change.request._replace(lineage=Lineage(parent_run_id=uuid4())))
    assert floods.mark([of_a_run]) == (of_a_run,), "its chain has had its turn"
    async with database.connection() as conn:
        first = await find_run(conn, run_id=marked[0].run_id)
    assert first is not None
    assert first.waiting_for is not None
    assert (first.waiting_for.reason, first.waiting_for.key) == ("executor", "told")


async def test_a_flood_is_over_when_none_of_its_runs_waits_any_more(database: Database) -> None:
    floods = Floods(database)
    await flood(database, MIN_FLOOD)
    await floods.look()
    waiting = floods.mark([ask("told", Trigger.WEBHOOK) for _ in range(MIN_AHEAD + 5)])
    assert set(await states_of(database, waiting)) == {RunState.SCHEDULED}
    await take_up(database)
    await floods.look()
    assert floods.mark([ask("told", Trigger.WEBHOOK)])[0].request.crowd is not None, "some of it still wait"
    async with scheduling(database) as room:
        assert (await share_out(room)).done["shared"] == MIN_AHEAD, "no more than that stands before others"
        async with database.connection() as conn:
            backlog = await measure_backlog(conn)
        await take_up(database)
        assert (await share_out(room)).done["shared"] == 5
    assert backlog.lanes["interactive"].runs == MIN_AHEAD + 5, "nobody has made them bulk"
    await floods.look()
    assert floods.mark([ask("told", Trigger.WEBHOOK)])[0].request.crowd is None
    assert await states_of(database, floods.mark([ask("told", Trigger.WEBHOOK)])) == [RunState.QUEUED]


async def test_who_accepts_or_admits_many_runs_notices_a_flood_by_itself(database: Database) -> None:
    await flood(database, MIN_FLOOD)
    broker = InProcessBroker(topology())
    acceptance = Acceptance(database, broker, Publisher(broker))
    states = []
    for runs in (499, 1, 1):
        entry = Entry(tuple(ask("told", Trigger.WEBHOOK) for _ in range(runs)))
        accepted = await acceptance.accept(entry)
        await acceptance.drain()
        states += [outcome.run.state for outcome in accepted.admissions if isinstance(outcome, Admitted)]
    assert states == [*[RunState.QUEUED] * 500, RunState.SCHEDULED]
    await broker.close()
