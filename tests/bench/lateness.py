"""How late runs start that are due one after the other over ten seconds, while the installation is busy to 60 %."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from penstock import clock
from penstock.runs.admission import admit
from penstock.runs.requests import CheckedRun
from tests.acceptance.installation import Installation
from tests.bench.machine import Cpu
from tests.bench.peers.metering import processor_time
from tests.bench.queueing import make_request
from tests.eventually import eventually

if TYPE_CHECKING:
    from tests.bench.measures import Bench

LOAD: Final = 0.6
RUNS: Final = 10_000
_SECONDS: Final = 10
_BATCH: Final = 1000


async def measure_lateness(bench: "Bench") -> Mapping[str, object]:
    """First, how many runs a second the installation performs when all are due at once. Then runs that are due over ten
    seconds: at 60 % of that rate, but no fewer than 1,000 a second.
    """
    async with bench.installation() as installation:
        services = dict(zip(("ingress", "scheduler", "executor"), await installation.start_all(), strict=True))
        many = bench.amount(2 * RUNS)
        capacity = await _measure_capacity(installation, many)
        per_second = max(LOAD * capacity, bench.amount(RUNS) / _SECONDS)
        runs = round(per_second * _SECONDS)
        begin = clock.now() + timedelta(seconds=3 + runs / 2000)
        times = [begin + timedelta(seconds=number / per_second) for number in range(runs)]
        await _schedule(installation, times)
        assert clock.now() < begin, "they were due before they had been scheduled"
        used = {name: -processor_time(service.process.pid) for name, service in services.items()}
        with Cpu() as cpu:
            await eventually(partial(_has_ended, installation, many + runs), within=90, every=0.5)
        used = {f"{name}_us": round((used[name] + processor_time(services[name].process.pid)) / runs * 1e6)
                for name in ("scheduler", "executor")}  # fmt: skip
        late = await _read_lateness(installation, begin)
        return {
            "capacity_per_second": round(capacity), "runs": runs, "per_second": round(per_second),
            "load": round(per_second / capacity, 2), **late, **used, "cpu": cpu.shares,
        }  # fmt: skip


async def _measure_capacity(installation: Installation, runs: int) -> float:
    """Runs performed per second, by scheduler and executor, when all are due at the same moment."""
    due_at = clock.now() + timedelta(seconds=2 + runs / 2000)
    await _schedule(installation, [due_at] * runs)
    assert clock.now() < due_at, "they were due before they had been scheduled"
    await eventually(partial(_has_ended, installation, runs), within=120, every=0.2)
    seconds = await installation.fetchval(
        "SELECT extract(epoch FROM max(finished_at) - min(started_at))::float8 FROM penstock.runs"
    )
    assert isinstance(seconds, float)
    return runs / seconds


async def _schedule(installation: Installation, times: Sequence[datetime]) -> None:
    for first in range(0, len(times), _BATCH):
        requests: list[CheckedRun] = [
            make_request(first + number, scheduled_at=at) for number, at in enumerate(times[first : first + _BATCH])
        ]
        await installation.database.in_transaction(partial(admit, runs=requests))


async def _has_ended(installation: Installation, runs: int) -> bool:
    ended = await installation.fetchval("SELECT count(*) FROM penstock.runs WHERE finished_at IS NOT NULL")
    return ended == runs


async def _read_lateness(installation: Installation, begin: datetime) -> dict[str, object]:
    """Milliseconds from being due to being handed over, and to being started, of the runs due from `begin` on."""
    async with installation.database.connection() as conn:
        row = await conn.fetchrow(
            """
            SELECT percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY late) AS late,
                   percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY queued) AS queued,
                   count(*) FILTER (WHERE late < 0) AS early
            FROM (
                SELECT extract(epoch FROM started_at - scheduled_at)::float8 * 1000 AS late,
                       extract(epoch FROM dispatched_at - scheduled_at)::float8 * 1000 AS queued
                FROM penstock.runs WHERE scheduled_at >= $1
            ) r
            """,
            begin,
        )
    assert row is not None, "an aggregate has a row"
    names = ("late_p50_ms", "late_p99_ms", "late_max_ms", "queued_p50_ms", "queued_p99_ms")
    shown = [round(value, 1) for value in [*row["late"], *row["queued"]]]
    return {**dict(zip(names, shown, strict=True)), "early": row["early"]}
