"""RabbitMQ as the broker: two connections that heal themselves, one to publish and one to consume.

Two, because a broker that runs out of memory stops reading from connections that publish, and acks must get through all
the same. What is lost with a connection is only time: publishes in flight raise, deliveries come again, and the
callbacks of `on_reconnect` send what the database says is still to be sent.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final
from uuid import uuid4

from penstock.broker.declaring import TopologyKeeper
from penstock.broker.driver import (
    CLOSE_SECONDS,
    AbsenceIgnored,
    Channel,
    Connection,
    is_away,
    is_open,
    open_channel,
    parse_url,
    within,
)
from penstock.broker.link import Link
from penstock.broker.port import Consumer, Handler
from penstock.broker.publishing import PublishChannels
from penstock.broker.subscription import Source, Subscription
from penstock.contracts.envelope import Message
from penstock.contracts.topology import Topology
from penstock.errors import BrokerUnavailable
from penstock.logs import get_logger
from penstock.metrics import EVENTS_DROPPED, PUBLISH_FAILURES

log = get_logger(__name__)

_START_SECONDS: Final = 3.0
_SUBSCRIBE_SECONDS: Final = 3.0
_COUNT_SECONDS: Final = 2.0


async def connect(url: str, *, topology: Topology, name: str) -> "RabbitBroker":
    """A broker at `url`, such as `amqp://user:password@host:5672/vhost`; operators see `name` beside its connections.

    Waits a moment for RabbitMQ, but returns without it too: the broker continues to try. Raises ConfigurationError for
    a wrong `url`.
    """
    broker = RabbitBroker(url, topology=topology, name=name)
    await broker.start()
    return broker


class RabbitBroker:
    """See the port. Made by `connect`."""

    def __init__(self, url: str, *, topology: Topology, name: str) -> None:
        self._topology = topology
        self._name = name
        self._subscriptions: list[Subscription] = []
        self._callbacks: list[Callable[[], Awaitable[None]]] = []
        self._calling: set[asyncio.Task[None]] = set()
        self._drains: list[Callable[[], Awaitable[None]]] = []
        self._counting: Channel | None = None
        self._counting_lock = asyncio.Lock()
        self._connected = asyncio.Event()
        self._was_away = False
        self._is_closing = False
        self._keepers = [TopologyKeeper(topology, self._call_back) for _ in range(2)]
        self._publish_link = Link(
            parse_url(url, name=f"{name} publish"),
            purpose="publish",
            tend=self._tend_publishing,
            on_change=self._note_change,
        )
        self._consume_link = Link(
            parse_url(url, name=f"{name} consume"),
            purpose="consume",
            tend=self._tend_consuming,
            on_change=self._note_change,
        )
        self._channels = PublishChannels(self._publish_link.nudge)

    async def start(self) -> None:
        """Begin to connect, and wait a moment for it."""
        self._publish_link.start()
        self._consume_link.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                await self._connected.wait()
        self._was_away = not self.is_connected

    @property
    def is_connected(self) -> bool:
        """See the port."""
        return self._publish_link.is_up and self._consume_link.is_up

    async def publish(
        self,
        exchange: str,
        routing_key: str,
        message: Message,
        *,
        timeout_seconds: float = 5.0,
        must_route: bool = True,
    ) -> None:
        """See the port."""
        try:
            self._require_link()
            await self._channels.publish(exchange, routing_key, message, timeout_seconds, must_route=must_route)
        except BrokerUnavailable:
            PUBLISH_FAILURES.inc()
            raise

    async def announce(
        self, exchange: str, routing_key: str, message: Message, *, timeout_seconds: float = 5.0
    ) -> bool:
        """See the port."""
        self._require_link()
        return await self._channels.announce(exchange, routing_key, message, timeout_seconds)

    def _require_link(self) -> None:
        if not self._publish_link.is_up:
            raise BrokerUnavailable(
                "there is no connection to RabbitMQ now, or it is out of memory or disk; it is tried again"
            )

    def publish_soon(self, exchange: str, routing_key: str, message: Message) -> None:
        """See the port."""
        if self._publish_link.is_up:
            self._channels.publish_soon(exchange, routing_key, message)
        else:
            EVENTS_DROPPED.inc()

    async def consume(self, queue: str, handler: Handler, *, prefetch: int) -> Consumer:
        """See the port."""
        known = next((known for known in self._topology.queues if known.name == queue), None)
        source = Source(queue, prefetch=prefetch)
        if known is not None:
            source = replace(
                source,
                dead_letter_exchange=known.dead_letter_exchange,
                delivery_limit=known.delivery_limit,
                is_last=known.dead_letter_exchange is None,
            )
        return await self._subscribe(source, handler)

    async def open_reply_queue(self, handler: Handler) -> str:
        """See the port."""
        return (await self._open_temporary_queue("reply", handler)).queue

    async def subscribe(self, exchange: str, pattern: str, handler: Handler) -> Consumer:
        """See the port."""
        return await self._open_temporary_queue("events", handler, binding=(exchange, pattern))

    async def _open_temporary_queue(
        self, purpose: str, handler: Handler, binding: tuple[str, str] | None = None
    ) -> Subscription:
        queue = f"{self._name.replace(' ', '.')}.{purpose}.{uuid4().hex}"

        async def declare(channel: Channel) -> None:
            await channel.queue_declare(queue, exclusive=True, auto_delete=True)
            if binding is not None:
                await channel.queue_bind(queue, *binding)

        return await self._subscribe(Source(queue, declare=declare), handler)

    async def _subscribe(self, source: Source, handler: Handler) -> Subscription:
        subscription = Subscription(source, handler, self.publish, self._consume_link.nudge)
        self._subscriptions.append(subscription)
        if self._consume_link.is_up:
            self._consume_link.nudge()
            with suppress(TimeoutError):
                async with asyncio.timeout(_SUBSCRIBE_SECONDS):
                    await subscription.is_subscribed.wait()
        return subscription

    async def count_ready(self, queue: str) -> int | None:
        """See the port."""
        connection = self._consume_link.connection
        if connection is None:
            return None
        with AbsenceIgnored():
            return await within(_COUNT_SECONDS, self._count(connection, queue))
        return None

    async def _count(self, connection: Connection, queue: str) -> int:
        async with self._counting_lock:
            # A channel of its own: the broker closes it when there is no such queue.
            if self._counting is None or not is_open(self._counting):
                self._counting = await open_channel(connection)
            return (await self._counting.queue_declare(queue, passive=True)).message_count or 0

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> None:
        """See the port."""
        self._callbacks.append(callback)

    def before_close(self, drain: Callable[[], Awaitable[None]]) -> None:
        """See the port."""
        self._drains.append(drain)

    async def close(self) -> None:
        """See the port."""
        drains, self._drains = self._drains, []
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.gather(*(drain() for drain in drains))
        self._is_closing = True  # what is closed now is not to be restored
        await asyncio.gather(*(subscription.close() for subscription in self._subscriptions))
        await self._channels.close()
        await asyncio.gather(self._publish_link.close(), self._consume_link.close())
        for task in self._calling:
            task.cancel()
        if self._calling:
            await asyncio.wait(self._calling)

    async def _tend_publishing(self, connection: Connection) -> None:
        if not self._is_closing:
            await self._keepers[0].tend(connection)
            await self._channels.tend(connection)

    async def _tend_consuming(self, connection: Connection) -> None:
        if self._is_closing:
            return
        await self._keepers[1].tend(connection)
        for subscription in list(self._subscriptions):
            try:
                if subscription.is_finished:
                    self._subscriptions.remove(subscription)
                    await subscription.close()
                await subscription.tend(connection)
            except Exception as error:
                if not is_away(error):
                    raise
                # The others continue; this one is tried again at the next turn. Until then its queue grows, which
                # operators see.
                log.warning("broker.consume_failed", queue=subscription.queue, error=f"{type(error).__name__}: {error}")

    def _note_change(self) -> None:
        if not self.is_connected:
            self._connected.clear()
            self._was_away = True
            return
        self._connected.set()
        if self._was_away:
            self._was_away = False
            self._call_back()

    def _call_back(self) -> None:
        for callback in self._callbacks:
            task = asyncio.create_task(self._call(callback))
            self._calling.add(task)
            task.add_done_callback(self._calling.discard)

    async def _call(self, callback: Callable[[], Awaitable[None]]) -> None:
        try:
            await callback()
        except Exception as error:
            log.error("broker.callback_failed", error=f"{type(error).__name__}: {error}", exc_info=error)
