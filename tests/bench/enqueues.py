"""Penstock at what its peers are measured at: single requests from end to end, and the time to the first line of the
work.

Each caller asks for one run at a time, over HTTP, and a request is answered when its run is stored durably. There are
as many callers as PGQueuer gets, and four times as many. The rate is from the first call to the last end of a run, as
it is of the peers. The first line is one of a workflow in Python, since that of a peer's handler is.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from statistics import quantiles
from typing import TYPE_CHECKING, Final

from tests.acceptance.installation import Installation, Service
from tests.bench.app import FILES, write_app
from tests.bench.draining import wait_for_things
from tests.bench.peers.catalogue import PEERS
from tests.bench.peers.driving import single_enqueues, start_latency
from tests.eventually import eventually
from tests.site import deploy_directory

if TYPE_CHECKING:
    from tests.bench.measures import Bench

CALLERS: Final = 16
MANY_CALLERS: Final = 64
PER_SECOND: Final = 50
_WARM: Final = 50
_STARTS: Final = {
    "app.yaml": FILES["app.yaml"] + "python: [bench_starts]\n",
    "bench_starts.py": """
import time

from penstock import App, Context, api

app = App()


@app.workflow(on=[api(method="POST", auth="public", respond="at_once")])
async def start(ctx: Context, job: float, payload: str) -> dict[str, float]:
    began = time.time()
    await ctx.create("thing", {"job": job, "payload": payload})
    return {"job": job, "began": began}
""",
}
# By the time of their creation, which has an index: there may be ten million others.
_BEGAN: Final = """
    SELECT (result ->> 'job')::float8::int AS job, (result ->> 'began')::float8 AS began
    FROM penstock.runs WHERE created_at >= $1 AND workflow = 'start' AND finished_at IS NOT NULL
    """


async def ask(
    ingress: Service, workflow: str, numbers: range, *, callers: int = CALLERS, per_second: float = 0
) -> Sequence[float]:
    """Ask for a run of each number; when each was asked for, in seconds since the epoch."""
    url = f"{ingress.url}/api/1.1/wf/{workflow}"
    arguments = (url, callers, numbers.start, len(numbers), *([per_second] if per_second else []))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.callers", *map(str, arguments), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    answer = json.loads(output)
    assert answer["refused"] == 0, f"{answer['refused']} requests to {url} were refused"
    asked: list[float] = answer["asked"]
    return asked


async def enqueue_singly(bench: "Bench", jobs: int, callers: int) -> float:
    """Runs per second from the first call to the last end, asked for one by one while all services work."""
    async with bench.installation() as installation:
        ingress, _, _ = await installation.start_all()
        await ask(ingress, "insert", range(_WARM))
        await wait_for_things(installation, _WARM)
        asked = await ask(ingress, "insert", range(_WARM, _WARM + jobs), callers=callers)
        await wait_for_things(installation, _WARM + jobs)
        ended = await installation.fetchval("SELECT extract(epoch FROM max(finished_at))::float8 FROM penstock.runs")
    assert isinstance(ended, float)
    return jobs / (ended - asked[0])


async def time_to_start(bench: "Bench", jobs: int) -> tuple[float, float]:
    """Milliseconds from a call to the first line of the work, on an idle installation: the median, and the 99th
    percentile.
    """
    async with starting(bench) as (installation, ingress):
        return await measure_starts(installation, ingress, jobs)


@asynccontextmanager
async def starting(bench: "Bench") -> AsyncIterator[tuple[Installation, Service]]:
    """An installation of which `measure_starts` asks, with all services running."""
    async with bench.installation() as installation:
        yield installation, await start_for_starts(installation)


async def start_for_starts(installation: Installation) -> Service:
    """Deploy the workflow whose start is measured, and start all services; the ingress."""
    directory = write_app(installation.directory / "starts", {**FILES, **_STARTS})
    await deploy_directory(installation.database, directory, ("live",))
    installation.settings = {**installation.settings, "PENSTOCK_APP": str(directory)}
    ingress, _, _ = await installation.start_all()
    return ingress


async def measure_starts(installation: Installation, ingress: Service, jobs: int) -> tuple[float, float]:
    """What `time_to_start` says, of runs that are asked for evenly."""
    since = await installation.fetchval("SELECT clock_timestamp()")
    await ask(ingress, "start", range(_WARM))
    await eventually(partial(_have_started, installation, since, _WARM), within=60, every=0.2)
    numbers = range(_WARM, _WARM + jobs)
    asked = await ask(ingress, "start", numbers, callers=1, per_second=PER_SECOND)
    await eventually(partial(_have_started, installation, since, _WARM + jobs), within=60, every=0.2)
    async with installation.database.connection() as conn:
        began = {row["job"]: row["began"] for row in await conn.fetch(_BEGAN, since)}
    waits = [(began[number] - at) * 1000 for number, at in zip(numbers, asked, strict=True)]
    cuts = quantiles(waits, n=100)
    return cuts[49], cuts[98]


async def _have_started(installation: Installation, since: object, runs: int) -> bool:
    ended = (
        "SELECT count(*) FROM penstock.runs WHERE created_at >= $1 AND workflow = 'start' AND finished_at IS NOT NULL"
    )
    return await installation.fetchval(ended, since) == runs


async def measure_own(bench: "Bench", jobs: int) -> dict[str, float]:
    """The columns of the table of peers for Penstock itself."""
    median, p99 = await time_to_start(bench, bench.amount(400))
    return {
        "single_enqueues_per_second": round(await enqueue_singly(bench, jobs, CALLERS), 1),
        "single_enqueues_per_second_of_64": round(await enqueue_singly(bench, jobs, MANY_CALLERS), 1),
        "start_p50_ms": round(median, 2),
        "start_p99_ms": round(p99, 2),
    }


async def measure_start(bench: "Bench") -> Mapping[str, object]:
    """Milliseconds from a call to the first line of its run, at fifty calls a second, and PGQueuer's beside it."""
    calls = bench.amount(400)
    median, p99 = await time_to_start(bench, calls)
    peer_median, peer_p99 = await start_latency(PEERS["pgqueuer"], bench.servers, calls, PER_SECOND)
    return {
        "calls": calls, "start_p50_ms": round(median, 2), "start_p99_ms": round(p99, 2),
        "pgqueuer_p50_ms": round(peer_median, 2), "pgqueuer_p99_ms": round(peer_p99, 2),
    }  # fmt: skip


async def measure_enqueues(bench: "Bench") -> Mapping[str, object]:
    """Single requests from end to end, and the time to the first line of the work, beside PGQueuer's in one run."""
    jobs, peer = bench.amount(10_000), PEERS["pgqueuer"]
    ours = await measure_own(bench, jobs)
    median, p99 = await start_latency(peer, bench.servers, bench.amount(400), PER_SECOND)
    theirs = {
        "single_enqueues_per_second": round(await single_enqueues(peer, bench.servers, jobs), 1),
        "start_p50_ms": round(median, 2),
        "start_p99_ms": round(p99, 2),
    }
    return {
        "jobs": jobs, "callers": CALLERS, "penstock": ours, "pgqueuer": theirs,
        "ratio": round(ours["single_enqueues_per_second"] / theirs["single_enqueues_per_second"], 2),
        "start_p50_share": round(ours["start_p50_ms"] / theirs["start_p50_ms"], 2),
        "start_p99_share": round(ours["start_p99_ms"] / theirs["start_p99_ms"], 2),
    }  # fmt: skip
