"""What is measured. Each measurement starts what it needs, and returns figures, ratios and CPU shares."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import aiohttp

from penstock import clock
from penstock.db import open_database
from penstock.runs.admission import admit
from penstock.testing.databases import fresh_database
from penstock.testing.ports import find_port
from tests.acceptance.installation import Installation
from tests.bench import draining, http_load, seeing
from tests.bench.admission import measure_checks
from tests.bench.app import write_app
from tests.bench.big_list import measure_big_list
from tests.bench.bulk import measure_steps
from tests.bench.data import measure_things
from tests.bench.embedded import Embedded
from tests.bench.enqueues import PER_SECOND, measure_enqueues, measure_own, measure_start
from tests.bench.fairness import measure_waiting
from tests.bench.growth import measure_growth
from tests.bench.lateness import measure_lateness
from tests.bench.limits import PAIR, compare_lists, perform_list
from tests.bench.lists import measure_list
from tests.bench.machine import Cpu
from tests.bench.memory import measure_memory
from tests.bench.peers.catalogue import PEERS
from tests.bench.peers.driving import drain, single_enqueues, start_latency
from tests.bench.prototype import HOME as PROTOTYPE_HOME
from tests.bench.prototype import Prototype
from tests.bench.queueing import make_request
from tests.bench.stepping import measure_stepping
from tests.bench.watching import has_finished, measure_rate, send_load, start_run
from tests.eventually import eventually
from tests.servers import Servers, fresh_vhost

Figures = Mapping[str, object]


class Bench:
    """The servers of one run of the benchmarks; `share` scales how much work each measurement does."""

    def __init__(self, servers: Servers, scratch: Path, *, share: float, embedded: Embedded) -> None:
        self.servers = servers
        self.scratch = scratch
        self.share = share
        self.embedded = embedded
        self._prototype: Prototype | None = None

    def amount(self, full: int) -> int:
        """How much to do, given what a full measurement does."""
        return max(int(full * self.share), 50)

    async def prototype(self) -> Prototype | None:
        """The prepared prototype, if its sources are here."""
        if self._prototype is None and PROTOTYPE_HOME.is_dir():
            prototype = Prototype(self.servers.database_url, self.servers.amqp_url, self.scratch)
            await prototype.prepare()
            self._prototype = prototype
        return self._prototype

    @asynccontextmanager
    async def installation(self) -> AsyncIterator[Installation]:
        """An installation with the measured app on a fresh database and a fresh virtual host, so that no measurement
        leaves messages to the next; services are started by the measurement.
        """
        async with (
            fresh_database(self.servers.database_url) as url,
            fresh_vhost(self.servers) as amqp_url,
            aiohttp.ClientSession() as http,
        ):
            database = await open_database(url, name="bench", most=4)
            settings = {
                "PENSTOCK_SECRET_STRIPE_WEBHOOK_SECRET": http_load.SECRET,
                "PENSTOCK_LEASE_SECONDS": "15",
                "PENSTOCK_LOG_LEVEL": "warning",
            }
            whole = Installation(url, amqp_url, database, self.scratch, http, settings)
            try:
                await whole.prepare(write_app(self.scratch / "app"))
                yield whole
            finally:
                await whole.close()
                await database.close()


async def measure_accept(bench: Bench) -> Figures:
    """Webhooks accepted per second by one ingress process, against bare aiohttp that only parses and answers."""
    seconds = 8 * bench.share + 2
    port = find_port()
    bare = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.bench.bare_http", str(port))
    try:
        await eventually(lambda: _is_listening(port))
        with Cpu() as bare_cpu:
            bare_figures = await send_load(f"http://127.0.0.1:{port}/hook", seconds, "plain")
    finally:
        bare.terminate()
        await bare.wait()
    async with bench.installation() as installation:
        ingress = await installation.start("ingress")
        with Cpu() as cpu:
            figures = await send_load(f"{ingress.url}/webhooks/stripe", seconds, "stripe")
        paced = await send_load(f"{ingress.url}/webhooks/stripe", seconds, "stripe", rate=0.8 * figures["per_second"])
        stored = await installation.fetchval("SELECT count(*) FROM penstock.deliveries")
    return {
        "accepted_per_second": round(figures["per_second"]),
        "bare_per_second": round(bare_figures["per_second"]),
        "ratio": round(figures["per_second"] / bare_figures["per_second"], 3),
        "p50_ms": round(figures["p50_ms"], 1),
        "p99_ms": round(figures["p99_ms"], 1),
        "p50_ms_at_80_percent": round(paced["p50_ms"], 1),
        "p99_ms_at_80_percent": round(paced["p99_ms"], 1),
        "p99_to_p50_at_80_percent": round(paced["p99_ms"] / paced["p50_ms"], 1),
        "refused": figures["refused"] + paced["refused"],
        "stored": stored,
        "cpu": cpu.shares,
        "bare_cpu": bare_cpu.shares,
    }


async def measure_peers(bench: Bench) -> Figures:
    """What other job systems do with the same work on the same servers, beside Penstock: `drain` (all queued
    beforehand), single enqueues from end to end, and the time from asking to the first line of the work.
    """
    jobs = bench.amount(10_000)
    async with bench.installation() as installation:
        ours = await draining.drain(installation, jobs)
    own = await measure_own(bench, jobs)
    table: dict[str, object] = {"penstock": {**asdict(ours), **own}}
    ratios: dict[str, float] = {}
    for peer in PEERS.values():
        theirs = await drain(peer, bench.servers, jobs)
        median, p99 = await start_latency(peer, bench.servers, bench.amount(400), PER_SECOND)
        singly = await single_enqueues(peer, bench.servers, jobs)
        table[peer.name] = {
            **asdict(theirs),
            "single_enqueues_per_second": round(singly, 1),
            "start_p50_ms": round(median, 2),
            "start_p99_ms": round(p99, 2),
        }
        ratios[peer.name] = round(ours.per_second / theirs.per_second, 2)
        if peer.name == "pgqueuer":
            ratios[f"{peer.name} single enqueues"] = round(own["single_enqueues_per_second"] / singly, 2)
    return {"jobs": jobs, "table": table, "ratios": ratios}


async def measure_hops(bench: Bench) -> Figures:
    """Scheduling hops per second of a single chain: each hop is a run that schedules the next."""
    hops = bench.amount(500)
    async with bench.installation() as installation:
        ingress, _, _ = await installation.start_all()
        with Cpu() as cpu:
            await start_run(installation, ingress, "hop", {"remaining": hops})
            await eventually(lambda: has_finished(installation, hops + 1), within=120, every=0.1)
        rate = await measure_rate(installation, hops)
        return {"hops": hops, "hops_per_second": round(rate), "cpu": cpu.shares}


async def measure_latency(bench: Bench) -> Figures:
    """Time from accepting a call to the claim of its run, on an idle system, against the prototype's."""
    calls, per_second = bench.amount(400), 50
    async with bench.installation() as installation:
        ingress, _, _ = await installation.start_all()
        for number in range(calls):
            await installation.call(ingress, "insert", {"job": number, "payload": "x"})
            await asyncio.sleep(1 / per_second)
        await installation.settled()
        median, p99 = await _percentiles(installation, "started_at - created_at")
    prototype = await bench.prototype()
    figures: dict[str, object] = {"calls": calls, "start_p50_ms": median, "start_p99_ms": p99}
    if prototype is not None:
        peer = await prototype.start_latency_ms(calls, per_second)
        figures |= {"prototype_p50_ms": round(peer, 2), "ratio": round(median / peer, 2)}
    return figures


async def measure_due(bench: Bench) -> Figures:
    """Lateness of runs that are all due in the same second."""
    runs = bench.amount(2000)
    async with bench.installation() as installation:
        await installation.start_all()
        due_at = clock.now() + timedelta(seconds=5)
        requests = [
            make_request(number, scheduled_at=due_at + timedelta(seconds=number / runs)) for number in range(runs)
        ]
        await installation.database.in_transaction(lambda conn: admit(conn, requests))
        with Cpu() as cpu:
            await eventually(lambda: has_finished(installation, runs), within=60, every=0.2)
        median, p99 = await _percentiles(installation, "started_at - scheduled_at")
        early = await installation.fetchval("SELECT count(*) FROM penstock.runs WHERE started_at < scheduled_at")
        return {"runs": runs, "late_p50_ms": median, "late_p99_ms": p99, "early": early, "cpu": cpu.shares}


async def measure_limits(bench: Bench) -> Figures:
    """A list of a workflow with a limit per key, and of one without, in turns; the ratio is of processor time."""
    items, took = bench.amount(20_000), list[float]()
    for workflow in PAIR * 2:
        async with bench.installation() as installation:
            took.append(await perform_list(installation, workflow, items, has_finished))
    return compare_lists(items, took)


async def measure_embedded(bench: Bench) -> Figures:
    """`penstock up`, one process: idle memory, drain by list, hops, accepted webhooks."""
    return await bench.embedded.measure(bench.amount(5000), bench.amount(500), 4 * bench.share + 1)


async def measure_bulk(bench: Bench) -> Figures:
    """Seconds of an import of 100,000 rows and of steps on all of them, and how much memory the executor takes for
    it.
    """
    async with bench.installation() as installation:
        executor = await installation.start("executor")
        with Cpu() as cpu:
            figures = await measure_steps(installation, executor, bench.amount(100_000))
        return {**figures, "cpu": cpu.shares}


async def measure_data(bench: Bench) -> Figures:
    """An import of 1,000,000 rows beside a bare COPY of them, and what pages and bulk creation take then."""
    async with bench.installation() as installation:
        ingress = await installation.start("ingress", PENSTOCK_RATE_LIMIT="0")
        with Cpu() as cpu:
            figures = await measure_things(installation, ingress, bench.amount(1_000_000))
        return {**figures, "cpu": cpu.shares}


async def measure_admission(bench: Bench) -> Figures:
    """What the checks of depth, fence and chain cost: admission with all of them against admission without any."""
    return await measure_checks(bench.servers.database_url, bench.amount(200))


async def measure_fairness(bench: Bench) -> Figures:
    """What a call, and a run of the same lane, waits while a chain doubles and a list of a million is performed."""
    async with bench.installation() as installation:
        return await measure_waiting(installation, items=bench.amount(1_000_000), calls=bench.amount(600))


MEASURES: Mapping[str, Callable[[Bench], Awaitable[Figures]]] = {
    "accept": measure_accept,
    "drain": draining.measure_drain,
    "pinned": draining.measure_pinned,
    "enqueues": measure_enqueues,
    "growth": measure_growth,
    "memory": measure_memory,
    "hops": measure_hops,
    "latency": measure_latency,
    "start": measure_start,
    "due": measure_due,
    "list": measure_list,
    "limits": measure_limits,
    "biglist": measure_big_list,
    "lateness": measure_lateness,
    "stepping": measure_stepping,
    "fairness": measure_fairness,
    "bulk": measure_bulk,
    "data": measure_data,
    "seeing": seeing.measure_seeing,
    "admission": measure_admission,
    "peers": measure_peers,
    "embedded": measure_embedded,
}


async def _percentiles(installation: Installation, interval: str) -> tuple[float, float]:
    async with installation.database.connection() as conn:
        row = await conn.fetchrow(
            f"""
            SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM {interval})::float8) * 1000,
                   percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM {interval})::float8) * 1000
            FROM penstock.runs WHERE started_at IS NOT NULL
            """
        )
    assert row is not None
    return round(row[0], 2), round(row[1], 2)


async def _is_listening(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
