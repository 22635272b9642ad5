"""What waits is measured every few seconds in each scheduler: at the cost of what waits, up to a limit, and never of
what has ended.
"""

import pytest

from penstock.contracts.topology import BULK_LANE, DEFAULT_LANE, LANES
from penstock.db import Connection, Database
from penstock.metrics import REGISTRY
from penstock.runs.lists import CHUNK_SIZE
from penstock_scheduler.loops.list_expansion import expand_chunk
from penstock_scheduler.loops.upkeep import measure_backlog as take_turn
from penstock_scheduler.repository.runs import Backlog, measure_backlog
from tests.integration.scheduler.taking_turns import admit_all, root, store_list
from tests.integration.scheduling import Station
from tests.integration.test_scheduler_plans import count_touched, store_runs


async def store(conn: Connection, **counts: int) -> None:
    """Runs in these states; `later` are scheduled for tomorrow."""
    for state, count in counts.items():
        await store_runs(conn, "scheduled" if state == "later" else state, count)
        if state == "later":
            await conn.execute(
                "UPDATE penstock.runs SET scheduled_at = now() + interval '1 day' WHERE state = 'scheduled'"
            )


async def store_ended(conn: Connection, count: int) -> None:
    await conn.execute("ALTER TABLE penstock.runs SET (autovacuum_enabled = off)")
    await conn.execute(
        """
        INSERT INTO penstock.runs (
            id, chain_id, environment, workflow, trigger, state, depth, scheduled_at, dispatched_at, finished_at
        )
        SELECT q.id, q.id, 'live', 'greet', 'message', 'succeeded', 0, now(), now(), now()
        FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, $1)) q
        """,
        count,
    )


async def measure(conn: Connection, **limits: int) -> tuple[Backlog, int]:
    """The backlog, and how many rows of `runs` were read for it."""
    async with conn.transaction():
        before = await count_touched(conn)
        backlog = await measure_backlog(conn, **limits)
        return backlog, await count_touched(conn) - before


@pytest.mark.parametrize("is_analyzed", [False, True], ids=["without statistics", "with statistics"])
async def test_measuring_reads_nothing_of_what_has_ended(database: Database, is_analyzed: bool) -> None:
    async with database.connection() as conn:
        for _ in range(10):  # the plan is made while the tables are empty, and kept
            await measure(conn)
        await store_ended(conn, 50_000)
        await store(conn, queued=30)
        if is_analyzed:
            await conn.execute("ANALYZE penstock.runs")
        backlog, touched = await measure(conn)
    assert (backlog.ready, backlog.scheduled) == (30, 0)
    assert 60 <= backlog.oldest_seconds < 600
    assert touched <= 40, f"{touched} rows were read to count 30"


async def test_measuring_reads_no_more_than_its_limits(database: Database) -> None:
    async with database.connection() as conn:
        await store(conn, later=3000, queued=3000)
        backlog, touched = await measure(conn, most_ready=1000, most_coming=100)
    assert (backlog.ready, backlog.scheduled) == (1000, 100)
    assert touched <= 1200, f"{touched} rows were read"


async def test_beyond_the_limit_the_figure_of_the_last_vacuum_counts(database: Database) -> None:
    async with database.connection() as conn:
        await store(conn, later=3000)
        await conn.execute("VACUUM ANALYZE penstock.runs")
        backlog, _ = await measure(conn, most_ready=1000, most_coming=100)
    assert backlog.scheduled == 3000


async def test_what_is_due_and_not_yet_handed_on_waits_too(database: Database) -> None:
    async with database.connection() as conn:
        await store(conn, scheduled=5, queued=3)
        backlog, _ = await measure(conn)
    assert (backlog.ready, backlog.scheduled) == (8, 0)


async def test_what_is_held_back_is_counted_apart(database: Database) -> None:
    async with database.connection() as conn:
        await store(conn, scheduled=5)
        await conn.execute(
            "UPDATE penstock.runs SET parked_at = now() WHERE id IN (SELECT id FROM penstock.runs LIMIT 3)"
        )
        backlog, _ = await measure(conn)
    assert (backlog.ready, backlog.held) == (2, 3)


async def test_a_turn_sets_the_gauges_of_each_lane_by_which_its_executors_are_scaled(station: Station) -> None:
    await admit_all(station, [root() for _ in range(5)])
    await station.fetch(
        "UPDATE penstock.runs SET is_bulk = true WHERE id IN (SELECT id FROM penstock.runs ORDER BY id LIMIT 3)"
    )
    await take_turn(station.furnish())
    assert [REGISTRY.get_sample_value("penstock_runs_ready", {"lane": lane}) for lane in LANES] == [2, 3]
    for lane in LANES:
        age = REGISTRY.get_sample_value("penstock_oldest_ready_run_seconds", {"lane": lane})
        assert age is not None
        assert 0 <= age < 60
    assert REGISTRY.get_sample_value("penstock_backlog_measured_timestamp_seconds")


async def test_items_of_a_large_list_count_before_they_are_runs(station: Station) -> None:
    items = 3 * CHUNK_SIZE
    await store_list(station, items)
    await store_list(station, items, is_sequential=True)
    async with station.database.connection() as conn:
        backlog, _ = await measure(conn)
        assert {lane: ready.runs for lane, ready in backlog.lanes.items()} == {DEFAULT_LANE: 0, BULK_LANE: items}
    await expand_chunk(station.furnish())
    async with station.database.connection() as conn:
        backlog, _ = await measure(conn)
        assert backlog.ready == items, "each counts once"
        limited, _ = await measure(conn, most_ready=100)
        assert limited.ready == 100
