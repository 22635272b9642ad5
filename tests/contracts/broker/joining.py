"""Clients of a broker under test, and a handler that keeps what it is given."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from penstock.broker.port import Broker, Delivery
from penstock.contracts.envelope import Message
from penstock.contracts.topology import EVENTS_EXCHANGE, Binding, Exchange, Queue, Topology
from tests.eventually import eventually

LIMIT: Final = 3
TOPOLOGY: Final = Topology(
    exchanges=(
        Exchange("work", "topic"),
        Exchange("lanes", "direct"),
        Exchange("events", "topic"),
        Exchange(EVENTS_EXCHANGE, "topic"),
        Exchange("dead", "fanout"),
    ),
    queues=(Queue("work", "dead", LIMIT), Queue("fast", "dead", LIMIT), Queue("dead", None)),
    bindings=(Binding("work", "work", "live.#"), Binding("lanes", "fast", "fast"), Binding("dead", "dead", "")),
)
Join = Callable[[], Awaitable[Broker]]


class Inbox:
    """A handler that keeps what it is given; `settle` says what it does with it."""

    def __init__(self, settle: Callable[[Delivery], Awaitable[None]] | None = None) -> None:
        self.deliveries: list[Delivery] = []
        self._settle = settle

    async def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        if self._settle is not None:
            await self._settle(delivery)

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.message.body for delivery in self.deliveries]

    async def receive(self, count: int = 1) -> list[Delivery]:
        await eventually(lambda: len(self.deliveries) >= count)
        return self.deliveries


async def ack(delivery: Delivery) -> None:
    await delivery.ack()


async def reject(delivery: Delivery) -> None:
    await delivery.reject()


async def publish(broker: Broker, *bodies: bytes, key: str = "live.notify") -> None:
    await asyncio.gather(*(broker.publish("work", key, Message(body)) for body in bodies))


async def is_ready(broker: Broker, queue: str, count: int) -> bool:
    return await broker.count_ready(queue) == count
