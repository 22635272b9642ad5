"""What measurements stand on works on today's tables and services: rows made by the database, callers, and a snapshot.

The measurements themselves take minutes; `make bench ARGS=--quick` has a short one of each.
"""

from statistics import fmean

from aiohttp import web

from penstock.db import Connection, Database
from tests.bench.callers import call
from tests.bench.draining import pinned_snapshot
from tests.bench.growth import fill_runs
from tests.bench.peers.metering import Meter
from tests.bench.queueing import admit_runs
from tests.integration.executing import serve_outside
from tests.site import deploy_files


async def test_what_growth_fills_in_is_what_runs_leave_behind(conn: Connection) -> None:
    await fill_runs(conn, finished=200, waiting=30)
    row = await conn.fetchrow(
        """
        SELECT count(*) FILTER (WHERE r.finished_at < now() AND s.run_id = r.id) AS ended,
               count(*) FILTER (WHERE r.state = 'scheduled' AND r.scheduled_at > now()) AS waiting,
               count(*) FILTER (WHERE r.parent_run_id IS NOT NULL AND p.chain_id = r.chain_id) AS children,
               count(*) FILTER (WHERE r.id = c.id AND r.parent_run_id IS NULL) AS chains
        FROM penstock.runs r
        LEFT JOIN penstock.steps s ON s.run_id = r.id
        LEFT JOIN penstock.runs p ON p.id = r.parent_run_id
        LEFT JOIN penstock.chains c ON c.id = r.chain_id
        """
    )
    assert row is not None
    assert dict(row) == {"ended": 200, "waiting": 30, "children": 180, "chains": 20}
    assert await conn.fetchval("SHOW session_replication_role") == "origin"


async def test_callers_ask_once_for_each_number_and_note_when() -> None:
    seen: list[float] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((await request.json())["job"])
        return web.json_response({}, status=500 if len(seen) == 7 else 200)

    async with serve_outside(answer) as url:
        answers = await call(url, 4, range(50, 70))
        evenly = await call(url, 1, range(3), 100)
    assert sorted(seen[:20]) == list(range(50, 70))
    assert (len(answers["asked"]), answers["refused"]) == (20, 1)
    gaps = [later - earlier for earlier, later in zip(evenly["asked"], evenly["asked"][1:], strict=False)]
    assert fmean(gaps) >= 0.009


async def test_a_pinned_snapshot_sees_nothing_that_comes_later(database: Database, database_url: str) -> None:
    await deploy_files(database, {"app.yaml": "app: a", "workflows/w.yaml": "workflow: insert\nsteps: [{log: x}]"})
    async with pinned_snapshot(database_url), Meter(database_url) as meter:
        horizon = "SELECT max(age(backend_xmin)) FROM pg_stat_activity WHERE datname = current_database()"
        async with database.connection() as conn:
            before = await conn.fetchval(horizon)
        assert len(await admit_runs(database, 20)) == 20
        async with database.connection() as conn:
            assert await conn.fetchval(horizon) > before
    assert meter.figures(20, 1.0, 0.0).wal_bytes > 100
