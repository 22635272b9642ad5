"""A broker whose disk is slow delays what it was given, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from urllib.parse import urlsplit, urlunsplit

from penstock.broker.publisher import Publisher
from penstock.broker.rabbitmq import connect
from penstock.contracts.topology import executor_queue, topology
from penstock.db import Database
from penstock.domain.ids import new_run_id
from penstock.domain.states import Trigger
from penstock.runs.requests import CheckedRun, RunRequest
from penstock_ingress.accepting.acceptance import Acceptance, Entry
from tests.eventually import eventually
from tests.integration.performing.inbox import Inbox


class Relay:
    """Passes bytes on between a client and a broker, and those of the broker only while it `answers`."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self.answers = asyncio.Event()
        self.answers.set()
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Relay"]:
        """The relay, listening at `url`."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        login = self._to.netloc.rpartition("@")[0]
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self.url = urlunsplit(self._to._replace(netloc=f"{login}@{place}" if login else place))
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        from_broker, to_broker = await asyncio.open_connection(self._to.hostname, self._to.port or 5672)
        answers = asyncio.create_task(self._pass_on(from_broker, to_client, self.answers))
        await self._pass_on(from_client, to_broker, None)
        to_broker.close()
        await answers

    async def _pass_on(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, gate: asyncio.Event | None
    ) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                if gate is not None:
                    await gate.wait()
                target.write(data)
        target.close()


async def test_a_run_is_handed_on_while_the_broker_has_not_confirmed_the_one_before(
    database: Database, amqp_url: str
) -> None:
    executors, seen = await connect(amqp_url, topology=topology(), name="executor"), Inbox()
    await executors.consume(executor_queue(), seen, prefetch=10)
    async with Relay(amqp_url).running() as relay:
        broker = await connect(relay.url, topology=topology(), name="ingress")
        acceptance = Acceptance(database, broker, Publisher(broker))
        relay.answers.clear()
        for count in (1, 2, 3):
            request = RunRequest(new_run_id(), "development", "call", {}, Trigger.API)
            await acceptance.accept(Entry((CheckedRun(request, version=0),)))
            await eventually(partial(_has, seen, count), within=4)  # a publish is given up after five
        relay.answers.set()
        await acceptance.drain()
        await broker.close()
    await executors.close()


def _has(seen: Inbox, count: int) -> bool:
    return len(seen.deliveries) == count
