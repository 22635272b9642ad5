"""Whether Penstock is as fast with 10,000,000 finished runs and steps, and with 1,000,000 that wait, as with none.

Three installations on the same servers are filled once, by the database itself, and then take turns: an idle time,
calls to an idle installation, and a drain. `PENSTOCK_BENCH_FINISHED` and `PENSTOCK_BENCH_WAITING` give other numbers
than those of a full measurement.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Final

from penstock.db import Connection
from tests.acceptance.installation import Installation
from tests.bench.draining import drain
from tests.bench.enqueues import measure_starts, start_for_starts
from tests.bench.peers.metering import Figures, Meter, processor_time

if TYPE_CHECKING:
    from tests.bench.measures import Bench

FINISHED: Final = 10_000_000
WAITING: Final = 1_000_000
_BATCH: Final = 500_000
_DAYS: Final = 28
"""Over which the ends are spread: less than finished runs are kept, so that retention has nothing to do."""
_TURNS: Final = 3
_FILL_SECONDS: Final = 3600
_SETTLE_SECONDS: Final = 5.0
# Ids as Penstock makes them: milliseconds first, so that they rise with time. A tenth of the runs are roots of ten.
_RUN_ID: Final = """
    (lpad(to_hex((extract(epoch FROM {at}) * 1000)::bigint), 12, '0') || '8' || substr(md5({of}::text), 1, 3) || '8'
     || substr(md5({of}::text), 4, 15))::uuid
    """
_FINISHED: Final = f"""
    INSERT INTO penstock.runs (
        id, chain_id, parent_run_id, environment, workflow, trigger, state, depth, version, attempt, created_at,
        scheduled_at, dispatched_at, started_at, finished_at, parameters, workload, indexed_state
    )
    SELECT {_RUN_ID.format(at="i.at", of="n")}, {_RUN_ID.format(at="i.at", of="i.root")},
           CASE WHEN n <> i.root THEN {_RUN_ID.format(at="i.at", of="i.root")} END,
           'live', 'workflow_' || i.root / 10 % 50,
           CASE WHEN n = i.root THEN 'api' ELSE 'run' END,
           CASE n % 100 WHEN 17 THEN 'failed' ELSE 'succeeded' END, (n <> i.root)::int, 1, 1, i.at, i.at, i.at, i.at,
           i.at + interval '20 ms', jsonb_build_object('job', n, 'payload', repeat('x', 100)), 1,
           CASE n % 100 WHEN 17 THEN 'failed' END
    FROM generate_series($1::int, $1::int + $2::int - 1) n
    CROSS JOIN LATERAL (
        SELECT n - n % 10 AS root, now() - interval '1 hour' - ($4::int - (n - n % 10)) * ($3::interval / $4::int) AS at
    ) i
    """
_STEPS: Final = """
    INSERT INTO penstock.steps (run_id, step, action, outcome, attempt, started_at, finished_at, result)
    SELECT r.id, 'create_thing', 'create', 'succeeded', 1, r.started_at, r.finished_at,
           jsonb_build_object('_id', '1700000000000x123456789012345678')
    FROM penstock.runs r WHERE r.finished_at IS NOT NULL
    """
_CHAINS: Final = """
    INSERT INTO penstock.chains (id, environment, runs, created_at, measured_runs, workload)
    SELECT r.id, 'live', 10, r.created_at, 10, 10 FROM penstock.runs r
    WHERE r.parent_run_id IS NULL AND r.finished_at IS NOT NULL
    """
_WAITING: Final = f"""
    INSERT INTO penstock.runs (
        id, chain_id, environment, workflow, trigger, state, indexed_state, depth, version, created_at, scheduled_at,
        parameters
    )
    SELECT i.id, i.id, 'live', 'insert', 'api', 'scheduled', 'scheduled', 0, 1, i.at,
           now() + interval '1 day' + n * interval '1 s',
           jsonb_build_object('job', n, 'payload', repeat('x', 100))
    FROM generate_series($1::int, $1::int + $2::int - 1) n
    CROSS JOIN LATERAL (
        SELECT {_RUN_ID.format(at="m.at", of="n")} AS id, m.at
        FROM (SELECT now() - interval '1 hour' - ($4::int - n) * ($3::interval / $4::int) AS at) m
    ) i
    """
# Retention has looked at all that is older than the shorter of the times that are kept, as it has after a week.
_LOOKED_AT: Final = "UPDATE penstock.retention SET reached_at = now() - interval '7 days' WHERE reached_at < now()"
_READS: Final = """
    SELECT t.relname, coalesce(t.seq_tup_read, 0) AS scanned, coalesce(t.idx_tup_fetch, 0) AS fetched,
           coalesce(i.entries, 0)::bigint AS entries
    FROM pg_stat_user_tables t
    LEFT JOIN (SELECT relid, sum(idx_tup_read) AS entries FROM pg_stat_user_indexes GROUP BY relid) i USING (relid)
    WHERE t.schemaname = 'penstock'
    """


@dataclass(slots=True)
class Place:
    """One filled installation, and what was measured there."""

    installation: Installation
    rows: int
    fill_seconds: float
    idle: list[float] = field(default_factory=list)
    idle_reads: Mapping[str, int] = field(default_factory=dict)
    idle_services: Mapping[str, float] = field(default_factory=dict)
    starts: list[tuple[float, float]] = field(default_factory=list)
    drains: list[Figures] = field(default_factory=list)
    drain_reads: Mapping[str, int] = field(default_factory=dict)

    def figures(self) -> dict[str, object]:
        """Medians of the turns, and what was read in the last."""
        whole = [asdict(one) for one in self.drains]
        return {
            "rows": self.rows,
            "fill_seconds": round(self.fill_seconds),
            "idle_postgres_percent": round(100 * median(self.idle), 2),
            "idle_services_percent": self.idle_services,
            "idle_reads_per_second": self.idle_reads,
            "start_p50_ms": round(median(p50 for p50, _ in self.starts), 2),
            "start_p99_ms": round(median(p99 for _, p99 in self.starts), 2),
            "drain": {name: round(median(one[name] for one in whole), 2) for name in whole[0]},
            "drained_per_second": [one.per_second for one in self.drains],
            "drain_reads_per_run": self.drain_reads,
        }


async def measure_growth(bench: "Bench") -> Mapping[str, object]:
    """Drain, start latency and an idle time with empty tables, with finished runs, and with runs that wait."""
    finished = int(os.environ.get("PENSTOCK_BENCH_FINISHED") or bench.amount(FINISHED))
    waiting = int(os.environ.get("PENSTOCK_BENCH_WAITING") or bench.amount(WAITING))
    idle_seconds, runs, calls = max(60 * bench.share, 10), bench.amount(10_000), bench.amount(400)
    async with AsyncExitStack() as stack:
        places = {
            name: await _fill(await stack.enter_async_context(bench.installation()), finished=ended, waiting=waits)
            for name, ended, waits in (("empty", 0, 0), ("finished", finished, 0), ("waiting", 0, waiting))
        }
        for turn in range(1 if bench.share < 1 else _TURNS):
            for name, place in places.items():
                await _measure_services(place, idle_seconds if turn == 0 else 10, calls)
                await _measure_drain(place, runs)
                print(json.dumps({"turn": turn, "place": name, **place.figures()}), file=sys.stderr, flush=True)
    figures = {name: place.figures() for name, place in places.items()}
    rates = {name: median(one.per_second for one in place.drains) for name, place in places.items()}
    ratios = {name: round(rates[name] / rates["empty"], 3) for name in ("finished", "waiting")}
    return {**figures, "runs": runs, "ratios": ratios}


async def _fill(installation: Installation, *, finished: int, waiting: int) -> Place:
    began = time.perf_counter()
    async with installation.database.connection() as conn:
        await fill_runs(conn, finished=finished, waiting=waiting)
        await conn.execute("VACUUM (ANALYZE)", timeout=_FILL_SECONDS)
        await conn.execute("CHECKPOINT", timeout=_FILL_SECONDS)
    return Place(installation, finished + waiting, time.perf_counter() - began)


async def fill_runs(conn: Connection, *, finished: int, waiting: int) -> None:
    """Insert runs that have ended, with their steps and chains, and runs that are due in days to come."""
    await conn.execute(
        "SET session_replication_role = replica"
    )  # no triggers, no foreign keys: what these write is written here
    try:
        for statement, rows in ((_FINISHED, finished), (_WAITING, waiting)):
            for first in range(0, rows, _BATCH):
                some = min(_BATCH, rows - first)
                await conn.execute(statement, first, some, timedelta(days=_DAYS), rows, timeout=_FILL_SECONDS)
        if finished:
            await conn.execute(_STEPS, timeout=_FILL_SECONDS)
            await conn.execute(_CHAINS, timeout=_FILL_SECONDS)
        await conn.execute(_LOOKED_AT)
    finally:
        await conn.execute("RESET session_replication_role")


async def _measure_services(place: Place, idle_seconds: float, calls: int) -> None:
    """With one process of each service: PostgreSQL's share of a processor while nothing happens, and starts."""
    installation = place.installation
    await start_for_starts(installation)
    services = installation.services[-3:]
    await asyncio.sleep(_SETTLE_SECONDS)
    before = {one.kind: processor_time(one.process.pid) for one in services}
    began = datetime.now(UTC)
    async with _reading(installation) as reads:
        async with Meter(installation.database_url) as meter:
            await asyncio.sleep(idle_seconds)
        seconds = (datetime.now(UTC) - began).total_seconds()
    place.idle.append(meter.postgres_seconds / seconds)
    place.idle_reads = {table: round(count / seconds) for table, count in reads.items() if count >= seconds}
    place.idle_services = {
        one.kind: round(100 * (processor_time(one.process.pid) - before[one.kind]) / seconds, 2) for one in services
    }
    place.starts.append(await measure_starts(installation, services[0], calls))
    for service in services:
        await service.stop()


async def _measure_drain(place: Place, runs: int) -> None:
    async with _reading(place.installation) as reads:
        place.drains.append(await drain(place.installation, runs))
    place.drain_reads = {table: round(count / runs) for table, count in reads.items() if count >= runs}


@asynccontextmanager
async def _reading(installation: Installation) -> AsyncIterator[dict[str, int]]:
    """Rows and entries of indexes read over the block, by table: `runs scanned` by sequential scans, `runs fetched` by
    indexes, `runs entries` of its indexes, dead or alive. Filled in at its end.
    """
    found: dict[str, int] = {}
    async with installation.database.connection() as conn:
        before = await _read(conn)
        yield found
        after = await _read(conn)
    found |= {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}


async def _read(conn: Connection) -> dict[str, int]:
    await conn.execute("SELECT pg_stat_clear_snapshot()")
    rows = await conn.fetch(_READS)
    return {f"{row['relname']} {kind}": row[kind] for row in rows for kind in ("scanned", "fetched", "entries")}
