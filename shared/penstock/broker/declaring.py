"""Sees to it that the topology exists: declares it on each new connection, and again when a queue has been deleted."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from aiormq.abc import ArgumentsType
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity, ChannelPreconditionFailed

from penstock.broker.driver import Channel, Connection, is_open, open_channel
from penstock.contracts.topology import LOSS_LIMIT, Binding, Exchange, Queue, Topology
from penstock.logs import get_logger

log = get_logger(__name__)

_Declaration = Callable[[Channel], Awaitable[object]]
_REFUSALS: Final = (ChannelAccessRefused, ChannelPreconditionFailed)


class TopologyKeeper:
    """Declares `topology` on the connection it is given and then looks after its queues. One per link."""

    def __init__(self, topology: Topology, on_restored: Callable[[], None]) -> None:
        self._topology = topology
        self._on_restored = on_restored
        self._channel: Channel | None = None
        self._visible: list[str] = []

    async def tend(self, connection: Connection) -> None:
        """Declare what is not there. Raises ChannelNotFoundEntity when a queue is missing that we may not declare."""
        if self._channel is None or not is_open(self._channel) or self._channel.connection is not connection:
            await self._declare_all(connection)
        elif not await self._all_queues_exist(connection):
            log.warning(
                "broker.topology_restored",
                advice="a queue had been deleted; what was in it is dispatched again from the database",
            )
            await self._declare_all(connection)
            self._on_restored()

    async def _declare_all(self, connection: Connection) -> None:
        self._visible = [queue.name for queue in self._topology.queues]
        channel = await open_channel(connection)
        for subject, declaration in _declarations(self._topology):
            try:
                await declaration(channel)
            except _REFUSALS as error:
                # An operator owns the topology (no configure permission), or gave the queue other arguments: use what
                # is there.
                log.info("broker.declare_refused", subject=subject, error=str(error))
                channel = await open_channel(connection)
        self._channel = channel

    async def _all_queues_exist(self, connection: Connection) -> bool:
        for name in list(self._visible):
            try:
                assert self._channel is not None
                await self._channel.queue_declare(name, passive=True)
            except ChannelNotFoundEntity:
                return False
            except ChannelAccessRefused:
                self._visible.remove(name)
                self._channel = await open_channel(connection)
        return True


def queue_arguments(queue: Queue) -> ArgumentsType:
    """A quorum queue. The dead letters themselves have no limit: there is nowhere they could go."""
    arguments: ArgumentsType = {"x-queue-type": "quorum"}
    if queue.dead_letter_exchange is not None:
        # Rejections are counted in a header of ours: what the broker counts here are lost connections too.
        arguments |= {"x-delivery-limit": LOSS_LIMIT, "x-dead-letter-exchange": queue.dead_letter_exchange}
    return arguments


def _declarations(topology: Topology) -> Iterator[tuple[str, _Declaration]]:
    for exchange in topology.exchanges:
        yield f"exchange {exchange.name}", _exchange(exchange)
    for queue in topology.queues:
        yield f"queue {queue.name}", _queue(queue)
    for binding in topology.bindings:
        yield f"binding {binding.exchange} → {binding.queue}", _binding(binding)


def _exchange(exchange: Exchange) -> _Declaration:
    return lambda channel: channel.exchange_declare(exchange.name, exchange_type=exchange.kind, durable=True)


def _queue(queue: Queue) -> _Declaration:
    return lambda channel: channel.queue_declare(queue.name, durable=True, arguments=queue_arguments(queue))


def _binding(binding: Binding) -> _Declaration:
    return lambda channel: channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)
