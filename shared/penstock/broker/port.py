"""The broker as services see it. One contract suite in `tests/contracts` checks both implementations.

Messages are only wake-ups: the rows in PostgreSQL are the truth, so a lost message costs time and a doubled one costs
nothing. What a publisher may rely on: `publish` returns after the broker has confirmed that a queue took the message.
What a consumer may rely on: a message not settled (its process died, its connection broke) is delivered again; a
rejected one is delivered again until the queue's delivery limit, then dead-lettered.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from penstock.contracts.envelope import Message


class Delivery(Protocol):
    """A delivered message, to be settled exactly once. Settling does nothing after the connection broke."""

    @property
    def message(self) -> Message:
        """What was sent. A message without an id gets one that begins with `UNNAMED` or `UNNAMED_AGAIN`, and keeps it
        when it is rejected or requeued.
        """

    @property
    def exchange(self) -> str:
        """The exchange it was published to."""

    @property
    def routing_key(self) -> str:
        """The routing key it was published with."""

    async def ack(self) -> None:
        """Done with: its effect has been committed, or it turned out to need none."""

    async def ack_and_confirm(self) -> bool:
        """Ack, and wait until the broker has taken note; False when the connection was lost before."""

    async def reject(self) -> None:
        """Failed: deliver it again; this counts toward the delivery limit, beyond which it is dead-lettered."""

    async def requeue(self) -> None:
        """Not now (draining, database away): give it back without holding it against the message."""

    async def dead_letter(self, reason: str) -> None:
        """Will never be understood: move it to the dead letters, with header `reason`, and never deliver it again."""


Handler = Callable[[Delivery], Awaitable[None]]
"""Called for each delivery in its own task, which outlives the connection. It must settle the delivery; when it raises,
the broker rejects it.
"""


class Consumer(Protocol):
    """A subscription to one queue."""

    async def stop(self) -> None:
        """Take no more deliveries and hand back those not begun. Handlers under way continue and may settle."""

    async def drain(self) -> None:
        """Wait until no handler is under way; call it after `stop`, with a deadline of your own."""


class Broker(Protocol):
    """A connection to a broker that heals itself."""

    @property
    def is_connected(self) -> bool:
        """Whether messages can be published and consumed at this moment."""

    async def publish(
        self,
        exchange: str,
        routing_key: str,
        message: Message,
        *,
        timeout_seconds: float = 5.0,
        must_route: bool = True,
    ) -> None:
        """Publish with confirm, persistent if the message says so.

        Raises BrokerUnavailable when it is not confirmed in time, refused, or routed to no queue though it
        `must_route`. It may still have been taken.
        """

    def publish_soon(self, exchange: str, routing_key: str, message: Message) -> None:
        """Publish without waiting or confirm: events and answers. Never raises; dropped while the broker is away."""

    async def announce(
        self, exchange: str, routing_key: str, message: Message, *, timeout_seconds: float = 5.0
    ) -> bool:
        """Publish with confirm; whether a queue took the message. It stands in no other message's way.

        Raises BrokerUnavailable when that is not confirmed in time, or refused. It may still have been taken.
        """

    def before_close(self, drain: Callable[[], Awaitable[None]]) -> None:
        """Call `drain` when this client is closed, for a moment at most: what waits to be published can leave."""

    async def consume(self, queue: str, handler: Handler, *, prefetch: int) -> Consumer:
        """Deliver messages of `queue` to `handler`, at most `prefetch` unsettled at once, also after reconnects.

        A message that cannot be decoded goes to the dead letters instead, and so does one that was rejected, or lost,
        too often. A queue without dead letters (that of the dead letters) has all of its messages delivered; what could
        not be decoded of one then stands in its header `reason`, unless it has one already.
        """

    async def open_reply_queue(self, handler: Handler) -> str:
        """A queue of this process, deleted with it; returns its name for `reply_to`. Publish to it over exchange `""`.

        Deliveries count as settled when they arrive. The name stays the same across reconnects.
        """

    async def subscribe(self, exchange: str, pattern: str, handler: Handler) -> Consumer:
        """Listen to messages on `exchange` whose routing key matches `pattern` (`*` one word, `#` any number).

        Deliveries count as settled when they arrive; what is published while the connection is away is missed.
        """

    async def count_ready(self, queue: str) -> int | None:
        """How many messages wait in `queue`; None when that cannot be determined now."""

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call `callback` each time messages may have been lost and can be sent again.

        That is when the connection is back, also after a start without the broker, and when a queue was found deleted.
        The topology has been declared again by then.
        """

    async def close(self) -> None:
        """Stop consumers, cancel handlers, hand unsettled deliveries back and disconnect.

        Takes a few seconds at most, even if the broker hangs.
        """
