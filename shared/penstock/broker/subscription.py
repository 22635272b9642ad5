"""Consuming from RabbitMQ: one channel per subscription, handlers in our own tasks, deliveries settled explicitly.

The driver runs its callback in a task that belongs to the channel and cancels it with the connection, so the callback
only hands over. Delivery tags belong to a channel: what is settled after its channel was lost has no effect, and the
broker delivers again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Final, cast
from uuid import uuid4

from aiormq.abc import DeliveredMessage

from penstock.broker.dead_letters import Origin, park
from penstock.broker.driver import (
    CLOSE_SECONDS,
    ENCODING_ERRORS,
    AbsenceIgnored,
    Channel,
    Connection,
    counts_nacks,
    is_open,
    open_channel,
    within,
)
from penstock.broker.port import Handler
from penstock.broker.wire import Arrival, decode, wrap_requeued
from penstock.contracts.envelope import REASON, UNNAMED, UNNAMED_AGAIN, Message
from penstock.contracts.topology import DELIVERY_LIMIT, LOSS_LIMIT
from penstock.errors import BrokerUnavailable
from penstock.logs import get_logger
from penstock.metrics import DEAD_LETTERED

log = get_logger(__name__)

_SETTLE_SECONDS: Final = 5.0
_REFRESH_AT: Final = 10
"""Lost deliveries after which a message begins again: half of the limit with which earlier releases declared queues."""

Publish = Callable[[str, str, Message], Awaitable[None]]
Declare = Callable[[Channel], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Source:
    """What a subscription consumes. `declare` makes a temporary queue, whose deliveries are settled on arrival."""

    queue: str
    prefetch: int = 0
    dead_letter_exchange: str | None = None
    delivery_limit: int = DELIVERY_LIMIT
    declare: Declare | None = None
    is_last: bool = False
    """It holds the dead letters: whatever is in it is for the handler, also what cannot be decoded."""


@dataclass(slots=True, eq=False)
class RabbitDelivery:
    """A delivery of RabbitMQ; see the port for what its methods promise."""

    arrival: Arrival
    _tag: int
    _channel: Channel
    _subscription: "Subscription"
    _is_settled: bool = field(default=False)

    @property
    def message(self) -> Message:
        """See the port."""
        return self.arrival.message

    @property
    def exchange(self) -> str:
        """See the port."""
        return self.arrival.exchange

    @property
    def routing_key(self) -> str:
        """See the port."""
        return self.arrival.routing_key

    async def ack(self) -> None:
        """See the port."""
        if self._begin_to_settle():
            await _settle(self._channel.basic_ack(self._tag, wait=False))

    async def ack_and_confirm(self) -> bool:
        """See the port. What a channel is asked is answered in order, so an answer shows that the ack has arrived."""
        with AbsenceIgnored():
            await self.ack()
            await within(_SETTLE_SECONDS, self._channel.queue_declare(self._subscription.queue, passive=True))
            return True
        return False

    async def reject(self) -> None:
        """See the port."""
        if not self._is_settled:
            await self._subscription.reject(self)

    async def return_rejected(self) -> None:
        """Have the broker deliver it again, and count that toward its own limit."""
        if self._begin_to_settle():
            await _settle(self._channel.basic_reject(self._tag, requeue=True, wait=False))

    async def requeue(self) -> None:
        """See the port."""
        if not self._is_settled:
            await self._subscription.requeue(self)

    async def give_back(self) -> None:
        """Have it delivered again soon, to any consumer. RabbitMQ before 4.3 counts this toward the delivery limit."""
        if self._begin_to_settle():
            await _settle(self._channel.basic_nack(self._tag, requeue=True, wait=False))

    async def dead_letter(self, reason: str) -> None:
        """See the port. Published before it is acked, so that a crash in between duplicates a dead letter and loses
        none.
        """
        if self._is_settled:
            return
        try:
            await self._subscription.park(self, reason)
        except (BrokerUnavailable, *ENCODING_ERRORS) as error:
            log.warning("broker.dead_letter_failed", queue=self._subscription.queue, reason=reason, error=str(error))
            await self.return_rejected()
        else:
            await self.ack()

    @property
    def connection(self) -> Connection:
        """The connection it came over."""
        return self._channel.connection

    @property
    def is_settled(self) -> bool:
        """Whether nothing more can be done with it."""
        return self._is_settled

    def _begin_to_settle(self) -> bool:
        was_settled, self._is_settled = self._is_settled, True
        if not was_settled:
            self._subscription.forget(self)
        return not was_settled


class Subscription:
    """A consumer that is restored whenever it is tended and not there any more."""

    def __init__(self, source: Source, handler: Handler, publish: Publish, nudge: Callable[[], None]) -> None:
        self.queue = source.queue
        self.is_subscribed = asyncio.Event()
        self._source = source
        self._handler = handler
        self._publish = publish
        self._nudge = nudge
        self._channel: Channel | None = None
        self._tag = ""
        self._unsettled: dict[RabbitDelivery, None] = {}  # in order of arrival
        self._handling: set[asyncio.Task[None]] = set()
        self._is_stopped = False

    async def tend(self, connection: Connection) -> None:
        """Subscribe, unless the broker has our consumer already. Raises what `is_away` knows."""
        if self._is_stopped or (self._channel is not None and await self._is_consuming(self._channel)):
            return
        if self._tag:
            log.warning("broker.consumer_restored", queue=self.queue)
        self.is_subscribed.clear()
        channel = self._channel
        if channel is None or not is_open(channel):
            channel = self._channel = await self._open_channel(connection)
        if self._source.declare is not None:
            await self._source.declare(channel)
        # A fresh tag each time: RabbitMQ closes the whole connection of a client that uses the tag of a cancelled
        # consumer again.
        self._tag = f"penstock-{uuid4().hex}"
        await channel.basic_consume(
            self.queue, self._receive, consumer_tag=self._tag, no_ack=self._source.declare is not None
        )
        self.is_subscribed.set()

    async def _open_channel(self, connection: Connection) -> Channel:
        channel = await open_channel(connection)
        channel.closing.add_done_callback(lambda _: self._nudge())
        channel.on_consumer_cancel_callbacks.add(lambda _: self._nudge())
        await channel.basic_qos(prefetch_count=self._source.prefetch)
        return channel

    async def _is_consuming(self, channel: Channel) -> bool:
        """Whether we and the broker agree that this consumer exists. One that it does not know is given up."""
        if not is_open(channel) or self._tag not in channel.consumers:
            return False
        counted = await channel.queue_declare(self.queue, passive=True)
        if counted.consumer_count:
            return True
        await channel.close()
        return False

    async def _receive(self, delivered: DeliveredMessage) -> None:
        delivery = RabbitDelivery(
            arrival=self._name(decode(delivered), is_again=bool(delivered.redelivered)),
            _tag=delivered.delivery_tag or 0,
            _channel=cast("Channel", delivered.channel),
            _subscription=self,
            _is_settled=self._source.declare is not None,
        )
        if not delivery.is_settled:
            self._unsettled[delivery] = None
        task = asyncio.get_running_loop().create_task(self._handle(delivery))
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)

    def _name(self, arrival: Arrival, *, is_again: bool) -> Arrival:
        if self._source.is_last and arrival.problem is not None and REASON not in arrival.message.headers:
            headers = {**arrival.message.headers, REASON: arrival.problem}
            arrival = arrival._replace(message=arrival.message._replace(headers=headers))
        if arrival.message.message_id or self._source.dead_letter_exchange is None:
            return arrival
        name = f"{UNNAMED_AGAIN if is_again else UNNAMED}{uuid4().hex}"
        return arrival._replace(message=arrival.message._replace(message_id=name))

    async def _handle(self, delivery: RabbitDelivery) -> None:
        if self._is_stopped:
            await delivery.give_back()
            return
        try:
            if await self._is_fit(delivery):
                await self._handler(delivery)
        except asyncio.CancelledError:
            await delivery.give_back()
            raise
        except Exception as error:
            log.error(
                "broker.handler_failed", queue=self.queue, error=f"{type(error).__name__}: {error}", exc_info=error
            )
            await delivery.reject()

    async def _is_fit(self, delivery: RabbitDelivery) -> bool:
        """Whether it is for the handler.

        A message that cannot be decoded is dead-lettered. One that was lost often moves to the end of the queue, before
        the broker dead-letters it for the faults of others.
        """
        arrival = delivery.arrival
        if self._source.is_last:
            return True
        if arrival.problem is not None:
            await self._dead_letter(delivery, arrival.problem)
            return False
        if self._source.dead_letter_exchange is None or arrival.fresh_losses < _REFRESH_AT:
            return True
        if arrival.losses > LOSS_LIMIT:
            await self._dead_letter(delivery, f"delivered {arrival.losses} times and lost each time, with its consumer")
            return False
        try:
            await self._publish_again(delivery, rejections=arrival.rejections, losses=arrival.losses)
        except (BrokerUnavailable, *ENCODING_ERRORS):
            return True
        await delivery.ack()
        return False

    async def _dead_letter(self, delivery: RabbitDelivery, reason: str) -> None:
        DEAD_LETTERED.labels(self.queue).inc()
        log.warning(
            "message.dead_lettered", queue=self.queue, message_id=delivery.message.message_id, reason=reason[:1000]
        )
        await delivery.dead_letter(reason)

    async def park(self, delivery: RabbitDelivery, reason: str) -> None:
        """Publish a copy to the dead letters. Raises BrokerUnavailable, also when the queue has none."""
        exchange = self._source.dead_letter_exchange
        if exchange is None:
            raise BrokerUnavailable(f"queue {self.queue!r} has no dead letters")
        origin = Origin(self.queue, delivery.exchange, delivery.routing_key)
        copy = park(delivery.message, reason=reason, origin=origin)
        await self._publish(exchange, delivery.routing_key, copy)

    async def reject(self, delivery: RabbitDelivery) -> None:
        """Deliver it again, and count that; beyond the limit, dead-letter it.

        The count is ours, in a header: the broker's includes losses with connections, and its dead letters have no
        reason.
        """
        rejections = delivery.arrival.rejections + 1
        if self._source.dead_letter_exchange is None:
            await delivery.return_rejected()
        elif rejections > self._source.delivery_limit:
            await self._dead_letter(delivery, f"delivered {rejections} times and rejected each time")
        else:
            try:
                await self._publish_again(delivery, rejections=rejections, losses=delivery.arrival.losses)
            except (BrokerUnavailable, *ENCODING_ERRORS):
                await delivery.return_rejected()
            else:
                await delivery.ack()

    async def requeue(self, delivery: RabbitDelivery) -> None:
        """Give it back uncounted.

        Where a nack would count, a copy goes to the end of the queue instead: a database that is away for a minute must
        not cause dead letters.
        """
        if not counts_nacks(delivery.connection):
            await delivery.give_back()
            return
        try:
            await self._publish_again(delivery, rejections=delivery.arrival.rejections, losses=0)
        except (BrokerUnavailable, *ENCODING_ERRORS):
            await delivery.give_back()
        else:
            await delivery.ack()

    async def _publish_again(self, delivery: RabbitDelivery, *, rejections: int, losses: int) -> None:
        """Publish a copy to the end of the queue, which the broker has never counted."""
        copy = wrap_requeued(delivery.arrival, rejections=rejections, losses=losses)
        await self._publish("", self.queue, copy)

    def forget(self, delivery: RabbitDelivery) -> None:
        """`delivery` is being settled."""
        self._unsettled.pop(delivery, None)

    async def stop(self) -> None:
        """See the port. The channel stays open for the handlers under way."""
        self._is_stopped = True
        channel = self._channel
        if channel is not None and is_open(channel) and self._tag in channel.consumers:
            with AbsenceIgnored():
                await within(CLOSE_SECONDS, channel.basic_cancel(self._tag))

    @property
    def is_finished(self) -> bool:
        """Whether it has been stopped and nothing of it is left to be settled."""
        return self._is_stopped and not self._handling and not self._unsettled

    async def drain(self) -> None:
        """See the port."""
        while self._handling:
            await asyncio.wait(self._handling)

    async def close(self) -> None:
        """Stop, cancel the handlers under way, hand back what is unsettled, all within a moment."""
        await self.stop()
        for task in self._handling:
            task.cancel()
        with AbsenceIgnored():
            await within(CLOSE_SECONDS, self.drain())
        with AbsenceIgnored():
            await within(CLOSE_SECONDS, self._hand_back())

    async def _hand_back(self) -> None:
        for delivery in list(self._unsettled):
            await delivery.give_back()
        if self._channel is not None and is_open(self._channel):
            # Closing waits for the broker's answer, so what was written before (the last acks) has arrived.
            await self._channel.close()


async def _settle(work: Coroutine[object, object, None]) -> None:
    """Do it, or nothing when the channel is gone: the broker has taken the delivery back then."""
    with AbsenceIgnored():
        async with asyncio.timeout(_SETTLE_SECONDS):
            await work
