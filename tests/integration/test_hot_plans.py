"""The statements that every run passes are planned once and for good, and the plan reads rows one by one.

Planning one of them costs more than performing it for a few runs. PostgreSQL plans again and again where it knows how
many elements an array has, and a plan made while the tables were small is kept while they grow.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import uuid4

import pytest

from penstock.db import Connection, Database
from penstock.domain.ids import new_run_id
from penstock.domain.states import Trigger
from penstock.runs.admission import admit, admit_deliveries
from penstock.runs.deliveries import NewDelivery
from penstock.runs.requests import CheckedRun
from penstock_executor.repository.claims import claim_runs
from tests.factories import build_run, change_run

SIZES = (1,) * 12
CUSTOM_PLANS = 5
"""PostgreSQL plans a new statement this many times before it considers one plan for all."""
MAX_TOUCHED_PER_RUN = 12
ANALYZED = 60
"""Autovacuum looks at a table for the first time when it has this many rows."""
Perform = Callable[[Connection, int], Awaitable[object]]


async def admit_roots(conn: Connection, size: int) -> list[CheckedRun]:
    roots = [build_run(run_id=new_run_id()) for _ in range(size)]
    await admit(conn, roots)
    return roots


async def admit_children(conn: Connection, size: int) -> list[CheckedRun]:
    return await admit_children_of(conn, await admit_roots(conn, size))


async def admit_children_of(conn: Connection, parents: Sequence[CheckedRun]) -> list[CheckedRun]:
    children = [
        build_run(run_id=new_run_id(), parent_run_id=parent.run_id, trigger=Trigger.RUN, depth=1) for parent in parents
    ]
    await admit(conn, children)
    return children


async def admit_webhooks(conn: Connection, size: int) -> None:
    runs, deliveries = [], []
    for _ in range(size):
        run, id = build_run(run_id=new_run_id()), uuid4()
        runs.append(change_run(run, delivery_id=id))
        deliveries.append(
            NewDelivery(id, "development", "stripe", str(id), None, run.version, (run.run_id,), {}, b"{}")
        )
    await admit_deliveries(conn, runs, sorted(deliveries, key=lambda delivery: delivery.key))


async def claim(conn: Connection, size: int) -> None:
    roots = await admit_roots(conn, size)
    claimed = await claim_runs(conn, run_ids=[run.run_id for run in roots], owner="test", lease=timedelta(seconds=15))
    assert len(claimed) == size


@pytest.mark.parametrize("perform", [admit_roots, admit_children, admit_webhooks, claim])
async def test_a_statement_of_the_hot_path_is_not_planned_for_each_batch(database: Database, perform: Perform) -> None:
    async with database.connection() as conn:
        for size in SIZES:
            async with conn.transaction():
                await perform(conn, size)
        rows = await conn.fetch(
            """
            SELECT statement, custom_plans FROM pg_prepared_statements
            WHERE statement ~ 'penstock\\.(runs|chains|deliveries)' AND custom_plans + generic_plans >= $1
            """,
            len(SIZES),
        )
    assert rows
    again = [row["statement"] for row in rows if row["custom_plans"] > CUSTOM_PLANS]
    assert not again, f"planned for each batch: {again}"


async def test_admission_planned_while_tables_were_small_reads_no_table_whole_when_they_are_large(
    database: Database,
) -> None:
    async with database.connection() as conn:
        await conn.execute(
            """
            ALTER TABLE penstock.runs SET (autovacuum_enabled = off);
            ALTER TABLE penstock.chains SET (autovacuum_enabled = off);
            """
        )
        await admit_children(conn, ANALYZED)
        await conn.execute("ANALYZE penstock.runs, penstock.chains, penstock.environments")
        for size in SIZES:
            await admit_children(conn, size)
        parents = [parent for _ in range(10) for parent in await admit_roots(conn, 300)]
        async with conn.transaction():
            before = await count_touched(conn)
            await admit_children_of(conn, parents[:300])
            touched = await count_touched(conn) - before
    assert touched <= MAX_TOUCHED_PER_RUN * 300, f"{touched} rows were read to admit 300 runs"


async def count_touched(conn: Connection) -> int:
    """Rows of `runs` and `chains` that this transaction has read so far."""
    count: int = await conn.fetchval(
        """
        SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint
        FROM pg_stat_xact_user_tables
        WHERE relid IN ('penstock.runs'::regclass, 'penstock.chains'::regclass)
        """
    )
    return count
