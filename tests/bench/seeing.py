"""What it takes to look: list pages and searches of the management API, with a million runs and five million lines.

The rows are made by the database itself, over 30 days: runs of 200 workflows, one in a hundred of which failed, chains
of ten runs and one of 100,000, steps, deliveries, dead letters, and a log in which one line of five has a message.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Final
from uuid import UUID

from penstock.db import Connection
from penstock_scheduler.repository.aging import ByDay, make_partition
from tests.acceptance.installation import ADMIN_TOKEN, Installation, Service
from tests.bench.machine import list_processes
from tests.bench.peers.metering import processor_time

if TYPE_CHECKING:
    from tests.bench.measures import Bench

LINES_PER_RUN: Final = 5
LARGE_CHAIN: Final = 100_000
DAYS: Final = 30
_TRIES: Final = 7
_FILL_SECONDS: Final = 3600
_ADMIN: Final = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
_ROOT: Final = UUID("0190a5f2-7c00-8a11-9b22-000000000000")
_RUNS: Final = """
    INSERT INTO penstock.runs (
        id, chain_id, parent_run_id, environment, workflow, trigger, state, depth, version, attempt, created_at,
        scheduled_at, dispatched_at, started_at, finished_at, parameters, context, result, error
    )
    SELECT i.id, i.root, CASE WHEN n % 10 > 0 THEN i.root END, 'live', 'workflow_' || (n / 10) % 200, 'api',
           CASE n % 100 WHEN 17 THEN 'failed' WHEN 18 THEN 'terminated' ELSE 'succeeded' END, CASE n % 10 WHEN 0 THEN 0
           ELSE 1 END, 1, 1, i.at, i.at, i.at, i.at, i.at,
           jsonb_build_object('number', n, 'note', md5(n::text)),
           CASE n % 50 WHEN 1 THEN jsonb_build_object('user', jsonb_build_object('_id', 'user ' || n % 5000)) END,
           jsonb_build_object('total', n),
           CASE n % 100 WHEN 17 THEN '{"kind": "error", "message": "the card was declined"}'::jsonb
                        WHEN 18 THEN '{"kind": "depth_limit"}'::jsonb END
    FROM generate_series(0, $1::int - 1) n
    CROSS JOIN LATERAL (
        SELECT md5('run ' || n)::uuid AS id, md5('run ' || n - n % 10)::uuid AS root,
               now() - interval '1 minute' - n * ($2::interval / $1::int) AS at
    ) i
    """
_CHAIN: Final = """
    INSERT INTO penstock.runs (
        id, chain_id, parent_run_id, environment, workflow, trigger, state, depth, scheduled_at, finished_at
    )
    SELECT i.id, $1, CASE WHEN n >= $2::int / 10 THEN i.parent WHEN n > 0 THEN $1 END, 'live', 'item_' || n % 3, 'run',
           CASE n % 7 WHEN 0 THEN 'failed' ELSE 'succeeded' END, CASE n WHEN 0 THEN 0 ELSE 1 + n / ($2::int / 10) END,
           now() - interval '31 days', now() - interval '31 days'
    FROM generate_series(0, $2::int - 1) n
    CROSS JOIN LATERAL (
        SELECT CASE n WHEN 0 THEN $1 ELSE ($3 || lpad(n::text, 12, '0'))::uuid END AS id,
               ($3 || lpad(greatest(n - $2::int / 10, 1)::text, 12, '0'))::uuid AS parent
    ) i
    """
_REST: Final = (
    """
    INSERT INTO penstock.chains (id, environment, runs, created_at, warned_at, cut_at)
    SELECT r.id, r.environment, 10, r.created_at, CASE WHEN get_byte(uuid_send(r.id), 0) = 7 THEN r.created_at END,
           CASE WHEN get_byte(uuid_send(r.id), 0) = 8 THEN r.created_at END
    FROM penstock.runs r WHERE r.parent_run_id IS NULL
    """,
    """
    INSERT INTO penstock.steps (run_id, step, action, outcome, attempt, started_at)
    SELECT r.id, 'say', 'log', 'succeeded', 1, r.created_at FROM penstock.runs r
    """,
    """
    INSERT INTO penstock.deliveries (
        id, environment, source, dedup_key, state, received_at, headers, body, is_keyed
    )
    SELECT r.id, r.environment, 'stripe', r.id::text, 'accepted', r.created_at, '{}', '\\x00', true
    FROM penstock.runs r WHERE r.parent_run_id IS NULL
    """,
    """
    INSERT INTO penstock.dead_letters (id, environment, kind, reason, workflow, chain_id, first_seen_at, last_seen_at)
    SELECT r.id, r.environment, 'run', 'the card was declined', r.workflow, r.chain_id, r.created_at, r.created_at
    FROM penstock.runs r WHERE r.state = 'failed'
    """,
)
_LINES: Final = """
    INSERT INTO penstock.logs (at, environment, level, event, run_id, chain_id, workflow, message, user_id)
    SELECT r.created_at + m * interval '1 ms', r.environment,
           CASE WHEN m = 0 AND r.state = 'failed' THEN 'error' ELSE 'info' END,
           CASE WHEN m = 0 THEN 'plugin action console output' ELSE 'event completed' END, r.id, r.chain_id, r.workflow,
           CASE WHEN m = 0
                THEN concat('charged order ', md5(r.id::text), ' with ', get_byte(uuid_send(r.id), 1), ' cents')
                ELSE '' END, r.context #>> '{user,_id}'
    FROM penstock.runs r CROSS JOIN generate_series(0, $1::int - 1) m
    WHERE r.chain_id <> $2
    """
PAGES: Final[Mapping[str, str]] = {
    "runs": "runs",
    "runs by state": "runs?state=failed",
    "runs by two states": "runs?state=terminated,failed",
    "runs that run": "runs?state=running,waiting",
    "runs by workflow": "runs?workflow=workflow_7",
    "runs of no workflow": "runs?workflow=nothing",
    "runs by text": "runs?contains=1999",
    "runs by a text that none has": "runs?contains=nowhere",
    "runs by user": "runs?user=user%20101",
    "runs by chain": f"runs?chain={_ROOT}",
    "runs of a day long ago": "runs?until={long_ago}",
    "a run": "runs/{run}",
    "chains": "chains",
    "chains near a limit": "chains?mark=near",
    "chains that were cut": "chains?mark=cut",
    "chains of no workflow": "chains?workflow=nothing",
    "lines": "logs",
    "lines with a common word": "logs?contains=charged",
    "lines with a rare word": "logs?contains={word}",
    "lines with a word that none has": "logs?contains=nowhere",
    "lines with a phrase": "logs?contains=%27with%2077%20cents%27",
    "lines by level": "logs?level=error",
    "lines by kind": "logs?kinds=plugin_action_console_output",
    "lines by workflow": "logs?workflow=workflow_7",
    "lines by user": "logs?user=user%20101",
    "lines of a run": "logs?run={run}",
    "deliveries": "deliveries",
    "dead letters": "dead-letters",
    "schedule": "schedule",
    "recurrences": "recurrences",
    "lists": "lists",
    "workload": "workload",
    "audit": "audit",
    "tokens": "tokens",
    "overview": "overview",
    "workflows": "workflows",
    "a chain of 100,000 runs": f"chains/{_ROOT}?limit=50",
    "its tree": f"chains/{_ROOT}/tree",
    "the runs of a node of it": f"chains/{_ROOT}/folded?run={str(_ROOT)[:-1]}4",
}
"""Addresses under `/v1/live/`, by what they show."""


async def measure_seeing(bench: "Bench") -> Mapping[str, object]:
    """What list pages and searches take with 1,000,000 runs and 5,000,000 lines of the log."""
    async with bench.installation() as installation:
        ingress = await installation.start("ingress", PENSTOCK_RATE_LIMIT="0")
        return await measure_looking(installation, ingress, bench.amount(1_000_000))


async def measure_looking(installation: Installation, ingress: Service, runs: int) -> dict[str, object]:
    """The median of the milliseconds of each page, as its client sees it, and its processor time: of the ingress, and
    of the backends of its database. The processor time says more on a machine that is busy.
    """
    began = time.perf_counter()
    async with installation.database.connection() as conn:
        await _fill(conn, runs)
        row = await conn.fetchrow(
            """SELECT id, md5(id::text) AS word FROM penstock.runs WHERE parameters @> '{"number": 70}'"""
        )
        lines = await conn.fetchval("SELECT count(*) FROM penstock.logs", timeout=_FILL_SECONDS)
        size = await conn.fetchval("SELECT pg_database_size(current_database())")
    assert row is not None, "the 70th run was made"
    filled = time.perf_counter() - began
    known = {
        "run": str(row["id"]),
        "word": row["word"],
        "long_ago": (datetime.now(UTC) - timedelta(days=20)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    pages = {name: await _page(installation, ingress, path.format(**known)) for name, path in PAGES.items()}
    return {
        "runs": runs,
        "lines": lines,
        "database_mb": round(size / 1e6),
        "fill_seconds": round(filled),
        "pages_p50_ms": {name: taken for name, (taken, _) in pages.items()},
        "pages_processor_ms": {name: used for name, (_, used) in pages.items()},
    }


async def _fill(conn: Connection, runs: int) -> None:
    today = datetime.now(UTC).date()
    for age in range(DAYS + 2):
        for table in ByDay:
            await make_partition(conn, table=table, day=today - timedelta(days=age))
    await conn.execute(_RUNS, runs, timedelta(days=DAYS), timeout=_FILL_SECONDS)
    await conn.execute(_CHAIN, _ROOT, min(LARGE_CHAIN, runs), str(_ROOT)[:-12], timeout=_FILL_SECONDS)
    for statement in _REST:
        await conn.execute(statement, timeout=_FILL_SECONDS)
    await conn.execute(_LINES, LINES_PER_RUN, _ROOT, timeout=_FILL_SECONDS)
    await conn.execute("VACUUM (ANALYZE)", timeout=_FILL_SECONDS)


async def _page(installation: Installation, ingress: Service, path: str) -> tuple[float, float]:
    url, taken = f"{ingress.admin_url}/v1/live/{path}", []
    before = await _processor_time(installation, ingress)
    for _ in range(_TRIES):
        began = time.perf_counter()
        async with installation.http.get(url, headers=_ADMIN) as response:
            assert response.status == 200, (path, await response.text())
            await response.read()
        taken.append(time.perf_counter() - began)
    used = await _processor_time(installation, ingress) - before
    return round(median(taken) * 1000, 1), round(used / _TRIES * 1000, 1)


async def _processor_time(installation: Installation, ingress: Service) -> float:
    async with installation.database.connection() as conn:
        rows = await conn.fetch("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
    processes = list_processes()
    backends = sum(processes[row["pid"]][2] for row in rows if row["pid"] in processes)
    return backends + processor_time(ingress.process.pid)
