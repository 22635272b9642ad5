"""A topology of one test's own on a real RabbitMQ, and clients of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import uuid4

from penstock.broker.rabbitmq import RabbitBroker, connect
from penstock.contracts.topology import Binding, Exchange, Queue, Topology
from tests.eventually import eventually

SETTLED_QUEUE_SECONDS: Final = 2.0
"""A quorum queue younger than this loses even confirmed messages when its node is killed."""


class Names:
    """A topology of one test's own: one work queue with dead letters."""

    def __init__(self) -> None:
        self.work, self.dead = f"work-{uuid4().hex}", f"dead-{uuid4().hex}"
        self.topology = Topology(
            exchanges=(Exchange(self.work, "topic"), Exchange(self.dead, "fanout")),
            queues=(Queue(self.work, self.dead), Queue(self.dead, None)),
            bindings=(Binding(self.work, self.work, "#"), Binding(self.dead, self.dead, "")),
        )


@asynccontextmanager
async def joined(url: str, names: Names) -> AsyncIterator[RabbitBroker]:
    """A client, closed at the end."""
    broker = await connect(url, topology=names.topology, name="faults")
    try:
        yield broker
    finally:
        async with asyncio.timeout(20):
            await broker.close()


async def queues_have_settled() -> None:
    """Wait until a queue declared now survives a kill."""
    loop = asyncio.get_running_loop()
    since = loop.time()
    await eventually(lambda: loop.time() - since > SETTLED_QUEUE_SECONDS)
