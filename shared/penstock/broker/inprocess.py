"""The broker of `penstock up`: the port's promises inside one process.

Bodies are passed as they are, and nothing is written down: the rows in PostgreSQL are what is sent again after a crash.
Several clients may share the queues, as connections to a RabbitMQ do: each closes its own consumers only.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import uuid4

from penstock.broker.dead_letters import Origin, park
from penstock.broker.memory_queues import Entry, MemoryQueue
from penstock.broker.port import Consumer, Handler
from penstock.broker.routing import matches
from penstock.contracts.envelope import Message
from penstock.contracts.topology import Queue, Topology
from penstock.errors import BrokerUnavailable
from penstock.logs import get_logger

log = get_logger(__name__)

_MAX_CACHED_ROUTES: Final = 10_000
_CLOSE_SECONDS: Final = 2.0


class InProcessDelivery:
    """A delivery in this process; see the port for what its methods promise."""

    __slots__ = ("_entry", "_is_settled", "_subscription")

    def __init__(self, entry: Entry, subscription: "_Subscription", *, is_settled: bool) -> None:
        self._entry = entry
        self._subscription = subscription
        self._is_settled = is_settled

    @property
    def message(self) -> Message:
        """See the port."""
        return self._entry.message

    @property
    def exchange(self) -> str:
        """See the port."""
        return self._entry.exchange

    @property
    def routing_key(self) -> str:
        """See the port."""
        return self._entry.routing_key

    async def ack(self) -> None:
        """See the port."""
        if self._begin_to_settle():
            self._subscription.queue.dispatch()

    async def ack_and_confirm(self) -> bool:
        """See the port."""
        await self.ack()
        return True

    async def reject(self) -> None:
        """See the port."""
        if self._begin_to_settle():
            self._subscription.queue.put_back(self._entry, is_failure=True)

    async def requeue(self) -> None:
        """See the port."""
        if self._begin_to_settle():
            self._subscription.queue.put_back(self._entry, is_failure=False)

    async def dead_letter(self, reason: str) -> None:
        """See the port."""
        if self._is_settled:
            return
        try:
            await self._subscription.park(self._entry, reason)
        except BrokerUnavailable as error:
            log.warning(
                "broker.dead_letter_failed",
                queue=self._subscription.queue.definition.name,
                reason=reason,
                error=str(error),
            )
            await self.reject()
        else:
            await self.ack()

    def _begin_to_settle(self) -> bool:
        was_settled, self._is_settled = self._is_settled, True
        if not was_settled:
            self._subscription.unsettled.pop(self, None)
        return not was_settled


class _Subscription:
    def __init__(
        self,
        broker: "InProcessBroker",
        queue: MemoryQueue,
        handler: Handler,
        *,
        prefetch: int,
        settles_on_arrival: bool,
    ) -> None:
        self.queue = queue
        self.unsettled: dict[InProcessDelivery, None] = {}  # in order of arrival
        self._broker = broker
        self._handler = handler
        self._prefetch = prefetch
        self._settles_on_arrival = settles_on_arrival
        self._handling: set[asyncio.Task[None]] = set()
        self._is_stopped = False

    @property
    def has_room(self) -> bool:
        return not self._prefetch or len(self.unsettled) < self._prefetch

    def take(self, entry: Entry) -> None:
        delivery = InProcessDelivery(entry, self, is_settled=self._settles_on_arrival)
        if not self._settles_on_arrival:
            self.unsettled[delivery] = None
        task = asyncio.get_running_loop().create_task(self._handle(delivery))
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)

    async def _handle(self, delivery: InProcessDelivery) -> None:
        if self._is_stopped:
            await delivery.requeue()
            return
        try:
            await self._handler(delivery)
        except asyncio.CancelledError:
            await delivery.requeue()
            raise
        except Exception as error:
            name = self.queue.definition.name
            log.error("broker.handler_failed", queue=name, error=f"{type(error).__name__}: {error}", exc_info=error)
            await delivery.reject()

    async def park(self, entry: Entry, reason: str) -> None:
        exchange = self.queue.definition.dead_letter_exchange
        if exchange is None:
            raise BrokerUnavailable(f"queue {self.queue.definition.name!r} has no dead letters")
        origin = Origin(self.queue.definition.name, entry.exchange, entry.routing_key)
        copy = park(entry.message, reason=reason, origin=origin)
        await self._broker.publish(exchange, entry.routing_key, copy)

    async def stop(self) -> None:
        """See the port."""
        if not self._is_stopped:
            self._is_stopped = True
            self.queue.consumers.remove(self)
            if self._settles_on_arrival:
                self._broker.forget_queue(self.queue.definition.name)

    async def drain(self) -> None:
        """See the port."""
        while self._handling:
            await asyncio.wait(self._handling)

    async def close(self) -> None:
        await self.stop()
        tasks = set(self._handling)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
        for delivery in list(self.unsettled):
            await delivery.requeue()


class _Node:
    """The queues and bindings that several clients share."""

    def __init__(self, topology: Topology) -> None:
        self.kinds = {exchange.name: exchange.kind for exchange in topology.exchanges}
        self.queues = {queue.name: MemoryQueue(queue, self._dead_letter) for queue in topology.queues}
        self.bindings = [(binding.exchange, binding.routing_key, binding.queue) for binding in topology.bindings]
        self._routes: dict[tuple[str, str], tuple[MemoryQueue, ...]] = {}
        self.published = 0

    def route(self, exchange: str, routing_key: str) -> tuple[MemoryQueue, ...]:
        """The queues that take a message published so."""
        found = self._routes.get((exchange, routing_key))
        if found is None:
            if len(self._routes) >= _MAX_CACHED_ROUTES:
                self._routes.clear()
            found = self._routes[exchange, routing_key] = self._find_route(exchange, routing_key)
        return found

    def _find_route(self, exchange: str, routing_key: str) -> tuple[MemoryQueue, ...]:
        if exchange == "":
            return (self.queues[routing_key],) if routing_key in self.queues else ()
        kind = self.kinds.get(exchange)
        if kind is None:
            return ()
        names = dict.fromkeys(
            queue
            for source, pattern, queue in self.bindings
            if source == exchange and matches(kind, pattern, routing_key)
        )
        return tuple(self.queues[name] for name in names)

    def add_queue(self, name: str, binding: tuple[str, str] | None) -> MemoryQueue:
        """A temporary queue."""
        queue = self.queues[name] = MemoryQueue(Queue(name, dead_letter_exchange=None), self._dead_letter)
        if binding is not None:
            self.bindings.append((*binding, name))
        self._routes.clear()
        return queue

    def remove_queue(self, name: str) -> None:
        """Remove a queue with its bindings."""
        self.queues.pop(name, None)
        self.bindings = [binding for binding in self.bindings if binding[2] != name]
        self._routes.clear()

    def _dead_letter(self, entry: Entry, definition: Queue) -> None:
        reason = f"delivered {entry.failures} times and rejected each time"
        origin = Origin(definition.name, entry.exchange, entry.routing_key)
        copy = park(entry.message, reason=reason, origin=origin)
        for queue in self.route(definition.dead_letter_exchange or "", entry.routing_key):
            queue.put(Entry(copy, definition.dead_letter_exchange or "", entry.routing_key))


class InProcessBroker:
    """See the port. `InProcessBroker(topology)` begins with empty queues; `share()` is another client of the same
    queues.
    """

    def __init__(self, topology: Topology, *, node: _Node | None = None) -> None:
        self._topology = topology
        self._node = node or _Node(topology)
        self._subscriptions: list[_Subscription] = []
        self._drains: list[Callable[[], Awaitable[None]]] = []
        self._is_closed = False

    def share(self) -> "InProcessBroker":
        """Another client of the same queues, closed on its own."""
        return InProcessBroker(self._topology, node=self._node)

    @property
    def is_connected(self) -> bool:
        """See the port. True until `close`."""
        return not self._is_closed

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
        del timeout_seconds  # nothing is waited for
        queues = () if self._is_closed else self._node.route(exchange, routing_key)
        if self._is_closed or (must_route and not queues):
            target = f"a message to exchange {exchange!r} with routing key {routing_key!r}"
            raise BrokerUnavailable(f"no queue takes {target}; does the queue exist and is it bound?")
        self._node.published += 1
        for queue in queues:
            queue.put(Entry(message, exchange, routing_key))

    def publish_soon(self, exchange: str, routing_key: str, message: Message) -> None:
        """See the port."""
        if not self._is_closed:
            self._node.published += 1
            for queue in self._node.route(exchange, routing_key):
                queue.put(Entry(message, exchange, routing_key))

    async def announce(
        self, exchange: str, routing_key: str, message: Message, *, timeout_seconds: float = 5.0
    ) -> bool:
        """See the port."""
        del timeout_seconds  # nothing is waited for
        if self._is_closed:
            raise BrokerUnavailable("the broker is closed")
        self.publish_soon(exchange, routing_key, message)
        return bool(self._node.route(exchange, routing_key))

    def before_close(self, drain: Callable[[], Awaitable[None]]) -> None:
        """See the port."""
        self._drains.append(drain)

    async def consume(self, queue: str, handler: Handler, *, prefetch: int) -> Consumer:
        """See the port. Raises BrokerUnavailable when the topology has no such queue."""
        known = self._node.queues.get(queue)
        if known is None:
            raise BrokerUnavailable(f"there is no queue {queue!r}")
        return self._subscribe(known, handler, prefetch=prefetch)

    async def open_reply_queue(self, handler: Handler) -> str:
        """See the port."""
        return self._open_temporary_queue("reply", handler, None).queue.definition.name

    async def subscribe(self, exchange: str, pattern: str, handler: Handler) -> Consumer:
        """See the port."""
        return self._open_temporary_queue("events", handler, (exchange, pattern))

    async def count_ready(self, queue: str) -> int | None:
        """See the port. None when there is no such queue."""
        known = self._node.queues.get(queue)
        return None if known is None else known.count_ready

    def count_settled(self) -> int | None:
        """How many messages all clients have published, if all are settled; None while some are not."""
        consumed = [queue for queue in self._node.queues.values() if queue.consumers]
        is_quiet = not any(
            queue.count_ready or any(consumer.unsettled for consumer in queue.consumers) for queue in consumed
        )
        return self._node.published if is_quiet else None

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> None:
        """See the port. Never calls: memory is not lost without the process."""

    async def close(self) -> None:
        """See the port."""
        while self._drains:
            await self._drains.pop()()
        for subscription in self._subscriptions:
            await subscription.close()
        self._is_closed = True

    def forget_queue(self, name: str) -> None:
        """Remove a temporary queue whose consumer has stopped."""
        self._node.remove_queue(name)

    def _open_temporary_queue(self, purpose: str, handler: Handler, binding: tuple[str, str] | None) -> _Subscription:
        queue = self._node.add_queue(f"penstock.{purpose}.{uuid4().hex}", binding)
        return self._subscribe(queue, handler, prefetch=0, settles_on_arrival=True)

    def _subscribe(
        self, queue: MemoryQueue, handler: Handler, *, prefetch: int, settles_on_arrival: bool = False
    ) -> _Subscription:
        subscription = _Subscription(self, queue, handler, prefetch=prefetch, settles_on_arrival=settles_on_arrival)
        self._subscriptions.append(subscription)
        queue.consumers.append(subscription)
        queue.dispatch()
        return subscription
