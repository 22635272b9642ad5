"""What changes while a run is performed is in no index: PostgreSQL updates the row alone (HOT)."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import product
from uuid import UUID, uuid4

import pytest

from penstock.db import Connection, Database, open_database
from penstock.db.migrations import list_migrations, migrate
from penstock.domain.states import FINAL_STATES, RunState
from penstock.runs.views.finding import RunFilter
from penstock.runs.views.runs import list_runs
from penstock.testing.databases import fresh_database
from penstock_executor.repository.claims import claim_runs
from penstock_executor.repository.held_runs import renew_leases
from penstock_scheduler.loops.reaping import reap_leases
from penstock_scheduler.repository.runs import dispatch_due_runs, redispatch_runs
from tests.integration.scheduler.taking_turns import admit_all, let_it_run, root
from tests.integration.scheduling import Station
from tests.integration.test_hot_plans import admit_children_of, admit_roots
from tests.servers import Servers

LEASE = timedelta(seconds=15)
INDEXED = frozenset({RunState.SCHEDULED, RunState.WAITING, RunState.FAILED})
FIRST = "0220"
QUEUED = 25_000
LOCK_TIMEOUT_SECONDS = 5
"""What every connection of the pool has, see penstock.db.pool."""


async def count_updates(conn: Connection) -> tuple[int, int]:
    """Rows of `runs` that this transaction has updated, and how many of them without touching an index."""
    row = await conn.fetchrow(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relid = 'penstock.runs'::regclass"
    )
    assert row is not None
    return row["n_tup_upd"], row["n_tup_hot_upd"]


async def test_the_claim_of_all_runs_of_a_page_touches_no_index(database: Database) -> None:
    async with database.connection() as conn:
        roots = await admit_roots(conn, 200)
        async with conn.transaction():
            await claim_runs(conn, run_ids=[run.run_id for run in roots], owner="test", lease=LEASE)
            assert await count_updates(conn) == (200, 200)


async def test_the_renewal_of_a_lease_touches_no_index(database: Database) -> None:
    async with database.connection() as conn:
        some = [run.run_id for run in (await admit_roots(conn, 200))[::20]]
        async with conn.transaction():
            claimed = await claim_runs(conn, run_ids=some, owner="test", lease=LEASE)
            held = [(run.id, run.attempt) for run in claimed]
            assert len(await renew_leases(conn, held=held, lease=LEASE)) == 10
            assert await count_updates(conn) == (20, 20)


async def test_what_a_run_was_given_is_not_among_the_columns_that_its_updates_write(database: Database) -> None:
    async with database.connection() as conn:
        columns = await conn.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'penstock.runs'::regclass AND attnum > 0 "
            "AND NOT attisdropped ORDER BY attnum"
        )
    assert columns[-1]["attname"] == "parameters", "PostgreSQL writes all between the first and the last change"


async def test_a_root_is_of_its_chain_and_a_child_begins_none(database: Database) -> None:
    async with database.connection() as conn:
        (root_run,) = await admit_roots(conn, 1)
        (child,) = await admit_children_of(conn, [root_run])
        of_root = await list_runs(conn, RunFilter(chain_id=root_run.run_id), after=None, limit=9)
        of_child = await list_runs(conn, RunFilter(chain_id=child.run_id), after=None, limit=9)
        assert {run.id for run in of_root.results} == {root_run.run_id, child.run_id}
        assert of_child.results == []
        index = str(await conn.fetchval("SELECT pg_get_indexdef('penstock.runs_chain'::regclass)"))
        assert index.endswith("WHERE (chain_id <> id)"), "a root needs no entry"


async def store(conn: Connection, state: RunState) -> UUID:
    """A run, as the release before inserts it: without what the indexes know of its state."""
    id = uuid4()
    await conn.execute(
        """
        INSERT INTO penstock.runs (
            id, chain_id, environment, workflow, trigger, state, depth, scheduled_at, dispatched_at, lease_expires_at,
            finished_at
        )
        VALUES ($1, $1, 'live', 'greet', 'message', $2, 0, now() - interval '1 minute',
                CASE WHEN $2 <> 'scheduled' THEN now() - interval '1 minute' END,
                CASE WHEN $2 = 'running' THEN now() - interval '1 second' END, CASE WHEN $3 THEN now() END)
        """,
        id,
        state,
        state in FINAL_STATES,
    )
    return id


async def move(conn: Connection, id: UUID, state: RunState) -> None:
    """Change the state, as a statement of the release before does."""
    await conn.execute(
        """
        UPDATE penstock.runs
        SET state = $2, lease_expires_at = CASE WHEN $2 = 'running' THEN now() END,
            finished_at = CASE WHEN $3 THEN now() END
        WHERE id = $1
        """,
        id,
        state,
        state in FINAL_STATES,
    )


async def find_wrong(conn: Connection) -> list[str]:
    """Runs of which the indexes know another state than theirs."""
    rows = await conn.fetch("SELECT state, indexed_state FROM penstock.runs")
    return [str(row) for row in rows if row["indexed_state"] != (row["state"] if row["state"] in INDEXED else None)]


async def test_indexes_know_the_state_that_the_release_before_has_written(database: Database) -> None:
    async with database.connection() as conn:
        for before, after in product(RunState, RunState):
            id = await store(conn, before)
            assert await find_wrong(conn) == [], f"{before} was inserted"
            await move(conn, id, after)
            assert await find_wrong(conn) == [], f"from {before} to {after}"
            await conn.execute("DELETE FROM penstock.runs")


async def test_runs_that_the_release_before_has_written_are_dispatched(database: Database) -> None:
    async with database.connection() as conn:
        due, moved = await store(conn, RunState.SCHEDULED), await store(conn, RunState.RUNNING)
        lost = await store(conn, RunState.QUEUED)
        await move(conn, moved, RunState.SCHEDULED)
        dispatched = await dispatch_due_runs(conn, most=10)
        assert {run.id for run in dispatched} == {due, moved}
        again = await redispatch_runs(conn, older_than=timedelta(seconds=5), most=10, is_bulk=False)
        assert [run.id for run in again] == [lost]


async def test_an_expired_lease_is_found_behind_many_queued_runs_by_turns_that_read_a_part_of_them(
    station: Station,
) -> None:
    (run_id,) = await admit_all(station, [root()])
    await let_it_run(station, run_id, lease=timedelta(seconds=-1))
    await station.fetch(
        """
        INSERT INTO penstock.runs (
            id, chain_id, environment, workflow, trigger, state, depth, scheduled_at, dispatched_at
        )
        SELECT q.id, q.id, 'live', 'greet', 'message', 'queued', 0, now(), now() - q.n * interval '1 ms'
        FROM (SELECT gen_random_uuid() AS id, n FROM generate_series(1, $1::int) n) q
        """,
        QUEUED,
    )
    room = station.furnish()
    first = await reap_leases(room)
    assert first.done["reaped"] == 0
    assert room.leases.since is not None, "the turn ended before the last run"
    assert first.wait_seconds is not None
    assert first.wait_seconds >= 1
    assert (await reap_leases(room)).done["reaped"] == 1
    assert room.leases.since is None, "the next turn begins with the first run"


@pytest.fixture
async def old(servers: Servers) -> AsyncIterator[Database]:
    """A database of the release before, with a run in each state."""
    async with fresh_database(servers.database_url) as url:
        database = await open_database(url, name="migrations", most=2)
        async with database.connection() as conn:
            await conn.execute(
                "CREATE TABLE public.penstock_migrations (name text PRIMARY KEY, checksum text NOT NULL, "
                "applied_at timestamptz NOT NULL DEFAULT now())"
            )
            for migration in list_migrations():
                if migration.name < FIRST:
                    await conn.execute(migration.sql)
                    await conn.execute(
                        "INSERT INTO public.penstock_migrations (name, checksum) VALUES ($1, $2)",
                        migration.name,
                        migration.checksum,
                    )
            for state in RunState:
                id = await store(conn, state)
                if state is RunState.WAITING:
                    columns = "(run_id, environment, step, signal)"
                    await conn.execute(f"INSERT INTO penstock.waits {columns} VALUES ($1, 'live', 's', 'paid')", id)
        yield database
        await database.close()


async def test_runs_that_were_there_before_are_found_by_the_new_indexes(old: Database) -> None:
    await migrate(old)
    async with old.connection() as conn:
        assert await find_wrong(conn) == []
        assert len(await dispatch_due_runs(conn, most=10)) == 1


async def test_an_index_whose_making_was_interrupted_is_made_again(old: Database) -> None:
    async with old.connection() as conn:
        await conn.execute("CREATE INDEX runs_handed ON penstock.runs (id)")
    await migrate(old)
    async with old.connection() as conn:
        definition = str(await conn.fetchval("SELECT pg_get_indexdef('penstock.runs_handed'::regclass)"))
    assert "(dispatched_at)" in definition


async def test_an_index_that_is_made_beside_the_service_waits_for_a_reader_however_long_it_takes(old: Database) -> None:
    async with old.connection() as reader:
        await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await reader.fetchval("SELECT count(*) FROM penstock.chains")
        waited = asyncio.create_task(migrate(old))
        await asyncio.wait({waited}, timeout=LOCK_TIMEOUT_SECONDS + 1)
        assert not waited.done(), "it has given up"
        await reader.execute("COMMIT")
    await waited
