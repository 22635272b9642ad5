"""`python -m tests.bench.simulation.measuring`: measures costs and rates of this machine, and keeps them.

Only the processes that belong to the measurement are counted, but nothing else should run meanwhile: rates fall, and
with cold caches costs rise, with whatever takes a core.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Self

import aio_pika
import asyncpg

from tests.acceptance.installation import Service
from tests.bench.embedded import Embedded
from tests.bench.machine import descendants, list_processes
from tests.bench.measures import Bench
from tests.bench.queueing import admit_runs, publishing
from tests.bench.simulation.costs import MEASURED, Costs, Measured, Part
from tests.bench.watching import has_finished, measure_rate, send_load, start_run
from tests.eventually import eventually
from tests.servers import Servers, fresh_vhost, running_postgres, running_rabbitmq

_RUNS = 10_000
_HOPS = 300
_SECONDS = 6.0
_ROUNDS = 3
_IDLE_SECONDS = 3.0
_TIMED = 1_000


class Usage:
    """Processor time by part over a `with` block: services by their kind, PostgreSQL and RabbitMQ by their programs, as
    far as they were started here; this machine may have others.
    """

    def __init__(self, services: Iterable[Service] = ()) -> None:
        self._kinds = {service.process.pid: service.kind for service in services}

    def __enter__(self) -> Self:
        self._before, self._began = self._read(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.elapsed = time.perf_counter() - self._began
        after = self._read()
        self.seconds = {part: used - self._before.get(part, 0.0) for part, used in after.items()}

    def each(self, count: float, idle: Mapping[str, float] | None = None) -> dict[str, float]:
        """For one of `count`, without what each part uses in a second when it has nothing to do."""
        rest = idle or {}
        return {
            part: max(used - rest.get(part, 0.0) * self.elapsed, 0.0) / count for part, used in self.seconds.items()
        }

    def _read(self) -> dict[str, float]:
        programs = {"postgres": "postgres", "beam.smp": "broker"}
        used: defaultdict[str, float] = defaultdict(float, own=time.process_time())
        processes = list_processes()
        for pid in descendants(os.getpid(), processes):
            name, _, seconds = processes[pid]
            part = self._kinds.get(pid) or programs.get(name)
            if part is not None:
                used[part] += seconds
        return used


async def measure(bench: Bench) -> Measured:
    """The medians of a few rounds."""
    accepted, drained, hopped = [], [], []
    for _ in range(_ROUNDS):
        accepted.append(await _accept(bench))
        drained.append(await _drain(bench))
        hopped.append(await _hop(bench))
    accept, drain, hop = _medians(accepted), _medians(drained), _medians(hopped)
    costs = Costs(
        client=accept["client"],
        ingress=Part(0.0, accept["ingress"]),
        scheduler=Part(hop["scheduler"], 0.0),
        executor=Part.from_extremes(alone=hop["executor"], under_load=drain["executor"]),
        accept_in_database=Part(0.0, accept["postgres"]),
        perform_in_database=Part.from_extremes(alone=hop["postgres"], under_load=drain["postgres"]),
        broker=Part.from_extremes(alone=hop["broker"], under_load=drain["broker"]),
        commit=await _time_commits(bench),
        message=await _time_messages(bench),
    )
    rates = {"accept": accept["rate"], "drain": drain["rate"], "hops": hop["rate"]}
    return Measured(os.cpu_count() or 1, costs, rates)


async def _accept(bench: Bench) -> dict[str, float]:
    async with bench.installation() as installation:
        ingress = await installation.start("ingress")
        with Usage([ingress]) as usage:
            figures = await send_load(f"{ingress.url}/webhooks/stripe", _SECONDS, "stripe")
        each = usage.each(figures["per_second"] * _SECONDS)
        return {**each, "client": figures["client_cpu_seconds"], "rate": figures["per_second"]}


async def _drain(bench: Bench) -> dict[str, float]:
    """Of an executor that has started, which costs as much as thousands of runs."""
    async with bench.installation() as installation:
        executor = await installation.start("executor")
        admitted = await admit_runs(installation.database, _RUNS)
        async with publishing(installation.amqp_url) as publisher:
            with Usage([executor]) as usage:
                await publisher.dispatch(admitted)
                await eventually(lambda: has_finished(installation, _RUNS), within=120, every=0.1)
        return {**usage.each(_RUNS), "rate": await measure_rate(installation, _RUNS)}


async def _hop(bench: Bench) -> dict[str, float]:
    async with bench.installation() as installation:
        services = await installation.start_all()
        with Usage(services) as idle:
            await asyncio.sleep(_IDLE_SECONDS)
        with Usage(services) as usage:
            await start_run(installation, services[0], "hop", {"remaining": _HOPS})
            await eventually(lambda: has_finished(installation, _HOPS + 1), within=120, every=0.1)
        each = usage.each(_HOPS, idle=idle.each(idle.elapsed))
        return {**each, "rate": await measure_rate(installation, _HOPS)}


async def _time_commits(bench: Bench) -> float:
    """Of a small statement, without the work of both sides: that is counted as theirs."""
    connection = await asyncpg.connect(bench.servers.database_url)
    try:
        await connection.execute("CREATE TABLE commits (at timestamptz)")
        with Usage() as usage:
            for _ in range(_TIMED):
                await connection.execute("INSERT INTO commits VALUES (now())")
        await connection.execute("DROP TABLE commits")
    finally:
        await connection.close()
    return _waited(usage, "own", "postgres")


async def _time_messages(bench: Bench) -> float:
    """From publishing to a consumer, over a quorum queue, without the work of these two."""
    async with fresh_vhost(bench.servers) as url:
        connection = await aio_pika.connect(url)
        async with connection:
            channel = await connection.channel(publisher_confirms=False)
            queue = await channel.declare_queue("timed", durable=True, arguments={"x-queue-type": "quorum"})
            arrived = asyncio.Queue[None]()

            async def note(message: aio_pika.abc.AbstractIncomingMessage) -> None:
                arrived.put_nowait(None)
                await message.ack()

            await queue.consume(note)
            message = aio_pika.Message(b"", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            with Usage() as usage:
                for _ in range(_TIMED):
                    await channel.default_exchange.publish(message, "timed")
                    await arrived.get()
    return _waited(usage, "own")


def _waited(usage: Usage, *parts: str) -> float:
    """Seconds in which none of these parts worked, for each that was timed."""
    return max(usage.elapsed - sum(usage.seconds[part] for part in parts), 0.0) / _TIMED


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


async def main() -> None:
    """Start the servers, measure, and keep the figures."""
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-bench-")))
        postgres = await stack.enter_async_context(running_postgres())
        rabbitmq = await stack.enter_async_context(running_rabbitmq())
        servers = Servers(postgres.url, rabbitmq.url, rabbitmq.management_url)
        measured = await measure(Bench(servers, scratch, share=1.0, embedded=Embedded(scratch)))
    MEASURED.write_text(json.dumps(asdict(measured), indent=2) + "\n")
    print(MEASURED.read_text())


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
