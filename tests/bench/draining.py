"""Draining what is queued: one executor process performs runs that all wait, and what each of them costs.

Also under a pinned snapshot: a reader that idles in a transaction keeps PostgreSQL from removing what claims and
endings leave behind, so each lookup steps over more dead rows.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING, Final

import asyncpg

from tests.acceptance.installation import Installation
from tests.bench.machine import Cpu
from tests.bench.peers.metering import Figures, Meter, processor_time
from tests.bench.queueing import queue_runs
from tests.eventually import eventually

if TYPE_CHECKING:
    from tests.bench.measures import Bench

_TURNS: Final = 2
_WITHIN: Final = 600
_RATES: Final = """
    SELECT count(*) / extract(epoch FROM max(r.finished_at) - min(r.began))::float8 AS rate
    FROM (
        SELECT finished_at, lag(finished_at, 1, started_at) OVER (ORDER BY finished_at) AS began,
               ntile(3) OVER (ORDER BY finished_at) AS third
        FROM penstock.runs WHERE created_at >= $1 AND workflow = 'insert' AND finished_at IS NOT NULL
    ) r
    GROUP BY r.third ORDER BY r.third
    """
_RATE: Final = """
    SELECT count(*) / extract(epoch FROM max(finished_at) - min(started_at))::float8
    FROM penstock.runs WHERE created_at >= $1 AND workflow = 'insert' AND finished_at IS NOT NULL
    """
_DEAD: Final = """
    SELECT relname || ' dead' AS name, n_dead_tup AS rows FROM pg_stat_user_tables
    WHERE schemaname = 'penstock' AND n_dead_tup > 0
    UNION ALL SELECT relname || ' updated', n_tup_upd FROM pg_stat_user_tables
    WHERE schemaname = 'penstock' AND n_tup_upd > 0
    UNION ALL SELECT relname || ' updated in place', n_tup_hot_upd FROM pg_stat_user_tables
    WHERE schemaname = 'penstock' AND n_tup_upd > 0
    """


async def drain(installation: Installation, runs: int) -> Figures:
    """Queue runs of one `create` step, and have one new executor process perform them; it is stopped at the end."""
    before = await installation.count_things()
    began = await _now(installation)
    await queue_runs(installation.database, installation.amqp_url, runs)
    async with Meter(installation.database_url) as meter:
        executor = await installation.start("executor", is_awaited=False)
        await wait_for_things(installation, before + runs)
        used = processor_time(executor.process.pid)
    rate = await installation.fetchval(_RATE, began)
    await executor.stop()
    assert isinstance(rate, float)
    return meter.figures(runs, rate, used)


async def wait_for_things(installation: Installation, things: int, *, every: float | None = None) -> None:
    """Wait until there are this many things. The more there are, the less often they are counted: what watches must not
    cost what is watched.
    """

    async def is_done() -> bool:
        return await installation.count_things() >= things

    await eventually(is_done, within=_WITHIN, every=every or max(0.1, things / 100_000))


async def measure_drain(bench: "Bench") -> Mapping[str, object]:
    """Runs of one `create` step per second by one executor process, all queued beforehand, against the prototype; and
    of ten times as many.
    """
    runs, many = bench.amount(10_000), bench.amount(100_000)
    async with bench.installation() as installation:
        with Cpu() as cpu:
            few = await drain(installation, runs)
        assert await installation.count_things() == runs
    async with bench.installation() as installation:
        figures = {"runs": runs, "runs_per_second": round(few.per_second), **_costs(few), "cpu": cpu.shares}
        figures["many"] = {"runs": many, **asdict(await drain(installation, many))}
    prototype = await bench.prototype()
    if prototype is not None:
        peer = await prototype.drain(4 * runs)  # as few would take it a quarter of a second, which says little
        figures |= {"prototype_per_second": round(peer), "ratio": round(few.per_second / peer, 3)}
    return figures


async def measure_pinned(bench: "Bench") -> Mapping[str, object]:
    """Runs drained per second while another connection idles in a transaction since before they were admitted, against
    the same without; in turns. `thirds` are of the runs in the order of their ends.
    """
    runs = bench.amount(30_000)
    thirds: dict[str, list[list[float]]] = {"clean": [], "pinned": []}
    dead: dict[str, dict[str, int]] = {}
    for turn in range(2 * _TURNS):
        name = "pinned" if turn % 2 else "clean"
        async with bench.installation() as installation:
            began = await _now(installation)
            if name == "pinned":
                async with pinned_snapshot(installation.database_url):
                    await drain(installation, runs)
                    dead[name] = await _count_dead(installation)
            else:
                await drain(installation, runs)
                dead[name] = await _count_dead(installation)
            async with installation.database.connection() as conn:
                thirds[name].append([round(row["rate"]) for row in await conn.fetch(_RATES, began)])
    rates = {name: round(median(_whole(each) for each in turns)) for name, turns in thirds.items()}
    last = {name: median(each[-1] for each in turns) for name, turns in thirds.items()}
    return {
        "runs": runs, "runs_per_second": rates, "thirds": thirds, "rows": dead,
        "ratio": round(rates["pinned"] / rates["clean"], 3),
        "last_third_share": round(last["pinned"] / last["clean"], 3),
    }  # fmt: skip


@asynccontextmanager
async def pinned_snapshot(database_url: str) -> AsyncIterator[None]:
    """A reader that idles in a transaction, and whose snapshot is as old as this block."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.fetchval("SELECT count(*) FROM penstock.environments")
            yield
    finally:
        await connection.close()


def _whole(thirds: list[float]) -> float:
    """The rate of all, of those of its thirds."""
    return len(thirds) / sum(1 / rate for rate in thirds)


def _costs(figures: Figures) -> dict[str, float]:
    return {name: value for name, value in asdict(figures).items() if name != "per_second"}


async def _count_dead(installation: Installation) -> dict[str, int]:
    """Dead rows, updates, and those of them that needed no entry of an index (HOT), by table, as the statistics have
    them once the executor's connections have ended.
    """
    async with installation.database.connection() as conn:
        await conn.execute("SELECT pg_stat_clear_snapshot()")
        return {row["name"]: row["rows"] for row in await conn.fetch(_DEAD)}


async def _now(installation: Installation) -> datetime:
    now = await installation.fetchval("SELECT clock_timestamp()")
    assert isinstance(now, datetime)
    return now
