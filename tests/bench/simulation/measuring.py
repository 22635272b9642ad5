"""`python -m tests.bench.simulation.measuring`: measures costs and rates of this machine, and keeps them.

Nothing else may run meanwhile: whatever takes a core is measured, too.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Self

import aio_pika
import asyncpg

from tests.acceptance.installation import Service
from tests.bench.embedded import Embedded
from tests.bench.machine import list_processes
from tests.bench.measures import Bench, has_finished, measure_rate, queue_runs, send_load, start_run
from tests.bench.simulation.costs import MEASURED, Costs, Measured, Part
from tests.eventually import eventually
from tests.servers import Servers, fresh_vhost, running_postgres, running_rabbitmq

_RUNS = 10_000
_HOPS = 300
_SECONDS = 6.0
_ROUNDS = 3


class Usage:
    """Processor time by part over a `with` block: services by their kind, PostgreSQL and RabbitMQ by their programs."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._kinds = {service.process.pid: service.kind for service in services}

    def __enter__(self) -> Self:
        self._before = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        after = self._read()
        self.seconds = {part: used - self._before.get(part, 0.0) for part, used in after.items()}

    def each(self, count: float) -> dict[str, float]:
        """For one of `count`."""
        return {part: used / count for part, used in self.seconds.items()}

    def _read(self) -> dict[str, float]:
        programs = {"postgres": "postgres", "beam.smp": "broker"}
        used: defaultdict[str, float] = defaultdict(float)
        for pid, (name, _, seconds) in list_processes().items():
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
    async with bench.installation() as installation:
        await queue_runs(installation.database, installation.amqp_url, _RUNS)
        executor = await installation.start("executor", is_awaited=False)
        with Usage([executor]) as usage:
            await eventually(lambda: has_finished(installation, _RUNS), within=120, every=0.1)
        return {**usage.each(_RUNS), "rate": await measure_rate(installation, _RUNS)}


async def _hop(bench: Bench) -> dict[str, float]:
    async with bench.installation() as installation:
        services = await installation.start_all()
        with Usage(services) as usage:
            await start_run(installation, services[0], "hop", {"remaining": _HOPS})
            await eventually(lambda: has_finished(installation, _HOPS + 1), within=120, every=0.1)
        return {**usage.each(_HOPS), "rate": await measure_rate(installation, _HOPS)}


async def _time_commits(bench: Bench) -> float:
    connection = await asyncpg.connect(bench.servers.database_url)
    try:
        await connection.execute("CREATE TABLE commits (at timestamptz)")
        took = []
        for _ in range(200):
            began = time.perf_counter()
            await connection.execute("INSERT INTO commits VALUES (now())")
            took.append(time.perf_counter() - began)
        await connection.execute("DROP TABLE commits")
    finally:
        await connection.close()
    return statistics.median(took)


async def _time_messages(bench: Bench) -> float:
    """From publishing to a consumer, over a quorum queue."""
    async with fresh_vhost(bench.servers) as url:
        connection = await aio_pika.connect(url)
        async with connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("timed", durable=True, arguments={"x-queue-type": "quorum"})
            arrived = asyncio.Queue[float]()

            async def note(message: aio_pika.abc.AbstractIncomingMessage) -> None:
                arrived.put_nowait(time.perf_counter())
                await message.ack()

            await queue.consume(note)
            took = []
            for _ in range(200):
                began = time.perf_counter()
                message = aio_pika.Message(b"", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                await channel.default_exchange.publish(message, "timed")
                took.append(await arrived.get() - began)
    return statistics.median(took)


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
