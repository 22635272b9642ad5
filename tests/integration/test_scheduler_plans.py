"""What a loop's statement touches grows with the runs it moves, never with their square, whatever the planner believes
of the table.

Statistics come late: a table may be planned for as empty while it holds thousands of due runs. Rows are counted, not
milliseconds.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import pytest

from penstock.db import Connection, Database
from penstock.domain.runs import RunSummary
from penstock_scheduler.repository import runs as repository

BATCH = 1000
MAX_TOUCHED_PER_RUN = 12
Move = Callable[[Connection], Awaitable[Sequence[RunSummary]]]


def dispatch(conn: Connection) -> Awaitable[Sequence[RunSummary]]:
    return repository.dispatch_due_runs(conn, most=BATCH)


def redispatch(conn: Connection) -> Awaitable[Sequence[RunSummary]]:
    return repository.redispatch_runs(conn, older_than=timedelta(seconds=5), most=BATCH)


def reap(conn: Connection) -> Awaitable[Sequence[RunSummary]]:
    return repository.reap_leases(conn, most_crashes=3, message="crashed", most=BATCH)


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
