"""What a loop's statement touches grows with the runs it moves, never with their square, whatever the planner believes
of the table.

Statistics come late: a table may be planned for as empty while it holds thousands of due runs. Rows are counted, not
milliseconds.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import pytest

from penstock.broker.inprocess import InProcessBroker
from penstock.contracts.topology import topology
from penstock.db import Connection, Database
from penstock.domain.runs import RunSummary
from penstock.runs.schedule.pauses import park_queued_runs
from penstock.runtime import Resources, Stop
from penstock_scheduler.loops.pausing import WINDOW, hold_back
from penstock_scheduler.repository import leases
from penstock_scheduler.repository import runs as repository
from penstock_scheduler.room import furnish
from tests.integration.scheduling import build_settings

BATCH = 1000
MAX_TOUCHED_PER_RUN = 12
Move = Callable[[Connection], Awaitable[Sequence[RunSummary]]]


def dispatch(conn: Connection) -> Awaitable[Sequence[RunSummary]]:
    return repository.dispatch_due_runs(conn, most=BATCH)


def redispatch(conn: Connection) -> Awaitable[Sequence[RunSummary]]:
    return repository.redispatch_runs(conn, older_than=timedelta(seconds=5), most=BATCH, is_bulk=False)


async def reap(conn: Connection) -> Sequence[RunSummary]:
    found = await leases.find_expired(conn, since=None, most=6000)
    return await leases.reap_leases(conn, run_ids=found.expired[:BATCH], most_crashes=3, message="crashed")


async def store_runs(conn: Connection, state: str, count: int) -> None:
    """Runs that each statement finds to be moved, in a table that nobody has analyzed."""
    await conn.execute("ALTER TABLE penstock.runs SET (autovacuum_enabled = off)")
    await conn.execute(
        """
        INSERT INTO penstock.runs (
            id, chain_id, environment, workflow, trigger, state, depth, scheduled_at, dispatched_at, lease_expires_at
        )
        SELECT q.id, q.id, 'live', 'greet', 'message', $1, 0, now() - interval '1 minute',
               CASE WHEN $1 <> 'scheduled' THEN now() - interval '1 minute' END,
               CASE WHEN $1 = 'running' THEN now() - interval '1 second' END
        FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, $2)) q
        """,
        state,
        count,
    )


async def count_touched(conn: Connection) -> int:
    """Rows of `runs` that this transaction has read so far."""
    count: int = await conn.fetchval(
        """
        SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)
        FROM pg_stat_xact_user_tables
        WHERE relid = 'penstock.runs'::regclass
        """
    )
    return count


@pytest.mark.parametrize("is_analyzed", [False, True], ids=["without statistics", "with statistics"])
@pytest.mark.parametrize("count", [300, 2000, 6000])
@pytest.mark.parametrize(("state", "move"), [("scheduled", dispatch), ("queued", redispatch), ("running", reap)])
async def test_rows_touched_grow_with_the_runs_that_wait(
    database: Database, state: str, move: Move, count: int, is_analyzed: bool
) -> None:
    async with database.connection() as conn:
        await store_runs(conn, state, count)
        if is_analyzed:
            await conn.execute("ANALYZE penstock.runs")
        async with conn.transaction():
            before = await count_touched(conn)
            moved = await move(conn)
            touched = await count_touched(conn) - before
    assert len(moved) == min(count, BATCH)
    assert touched <= MAX_TOUCHED_PER_RUN * count, f"{touched} rows were read to move {len(moved)} of {count} runs"


async def spread(conn: Connection) -> None:
    """Let the runs be dispatched one after the other, up to some seconds ago."""
    await conn.execute("UPDATE penstock.runs SET dispatched_at = now() - random() * interval '1 hour' - interval '5 s'")


async def pause(conn: Connection, **columns: object) -> None:
    """A pause of `live`."""
    names = ", ".join(["environment", *columns])
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 2))
    await conn.execute(f"INSERT INTO penstock.pauses ({names}) VALUES ({places})", "live", *columns.values())
    await conn.execute("UPDATE penstock.environments SET has_pauses = true WHERE name = 'live'")


@pytest.mark.parametrize("is_analyzed", [False, True], ids=["without statistics", "with statistics"])
async def test_a_turn_of_hold_back_touches_as_many_rows_however_many_are_queued(
    database: Database, is_analyzed: bool
) -> None:
    async with database.connection() as conn:
        await store_runs(conn, "queued", 100_000)
        await spread(conn)
        for number in range(20):
            await pause(conn, workflow=f"other{number}")
        if is_analyzed:
            await conn.execute("ANALYZE penstock.runs")
        since: datetime | None = None
        for look in range(3):
            async with conn.transaction():
                before = await count_touched(conn)
                found = await park_queued_runs(conn, since=since, most=WINDOW)
                touched = await count_touched(conn) - before
            assert (found.parked, found.is_full) == (0, True)
            assert touched <= 2 * WINDOW, f"look {look}: {touched} rows were read of a window of {WINDOW}"
            since = found.next_since


async def test_what_is_queued_is_looked_through_once_for_a_new_pause_and_then_only_what_is_new(
    database: Database,
) -> None:
    async with database.connection() as conn:
        await store_runs(conn, "queued", 12_000)
        await spread(conn)
        await pause(conn, workflow="other")
        room = furnish(build_settings(), Resources(database, InProcessBroker(topology())), Stop())
        waits = [(await hold_back(room)).wait_seconds for _ in range(4)]
        assert waits == [0.0, 0.0, None, None], "the first three turns look at all of them"
        async with conn.transaction():
            before = await count_touched(conn)
            await park_queued_runs(conn, since=room.pauses.since, most=WINDOW)
            assert await count_touched(conn) - before == 0, "nothing was queued since"
        await conn.execute(
            "UPDATE penstock.runs SET dispatched_at = now() WHERE id = (SELECT id FROM penstock.runs LIMIT 1)"
        )
        await pause(conn, list_id=None, workflow="greet")
        parked = 0
        while (turn := await hold_back(room)).wait_seconds is not None:
            parked += turn.done["parked"]
        assert parked + turn.done["parked"] == 12_000
        await room.release()
