"""Publishing to RabbitMQ: confirmed, many in flight at once; and unconfirmed, many in one write.

Three channels of one connection, because a broker that closes a channel (a message too large, an exchange that is gone)
fails all that is in flight on it, and events must not fail commands.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from aiormq.abc import ChannelFrame
from aiormq.exceptions import DeliveryError, PublishError

from penstock.broker.driver import (
    CLOSE_SECONDS,
    ENCODING_ERRORS,
    AbsenceIgnored,
    Channel,
    Connection,
    is_away,
    is_open,
    open_channel,
    within,
)
from penstock.broker.wire import encode_properties, encode_publish
from penstock.contracts.envelope import Message
from penstock.errors import BrokerUnavailable
from penstock.logs import get_logger
from penstock.metrics import EVENTS_DROPPED

log = get_logger(__name__)

WINDOW: Final = 200
"""Most confirmed publishes in flight; RabbitMQ writes many to disk at once, so one after the other would be slow."""
MAX_WAITING: Final = 10_000
"""Most unconfirmed messages that wait for the socket; what comes on top is dropped."""
_WRITE_AT_ONCE: Final = 64
_WRITE_LIMIT_SECONDS: Final = 5.0

_Outgoing = tuple[str, str, Message]


class PublishChannels:
    """Publishes on the connection that `tend` gave last. `nudge` asks for `tend` when a channel is lost."""

    def __init__(self, nudge: Callable[[], None]) -> None:
        self._nudge = nudge
        self._confirmed: Channel | None = None
        self._unconfirmed: Channel | None = None
        self._announcing: Channel | None = None
        self._window = asyncio.Semaphore(WINDOW)
        self._in_flight: dict[str, asyncio.Future[None]] = {}
        self._waiting: deque[_Outgoing] = deque()
        self._has_waiting = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._dropped = 0

    async def tend(self, connection: Connection) -> None:
        """Open the channels that are not open."""
        if not is_open(self._confirmed):
            self._confirmed = await self._open_channel(connection, confirms=True)
        if not is_open(self._announcing):
            self._announcing = await self._open_channel(connection, confirms=True)
        if not is_open(self._unconfirmed):
            self._unconfirmed = await self._open_channel(connection, confirms=False)
        if self._pump is None:
            self._pump = asyncio.create_task(self._write_waiting(), name="penstock broker events")

    async def _open_channel(self, connection: Connection, *, confirms: bool) -> Channel:
        channel = await open_channel(connection, confirms=confirms)
        channel.closing.add_done_callback(lambda _: self._nudge())
        return channel

    async def publish(
        self, exchange: str, routing_key: str, message: Message, timeout_seconds: float, *, must_route: bool = True
    ) -> None:
        """Publish with confirm. Raises BrokerUnavailable."""

        async def send() -> None:
            async with self._window:
                await self._publish_alone(exchange, routing_key, message, must_route=must_route)

        target = _describe(exchange, routing_key)
        if not await _confirmed(send, target, timeout_seconds):
            raise BrokerUnavailable(f"RabbitMQ routed {target} to no queue; does the queue exist and is it bound?")

    async def announce(self, exchange: str, routing_key: str, message: Message, timeout_seconds: float) -> bool:
        """Publish with confirm on the channel for events; whether a queue took it. Raises BrokerUnavailable."""

        async def send() -> None:
            await _send(self._announcing, exchange, routing_key, message, must_route=True)

        return await _confirmed(send, _describe(exchange, routing_key), timeout_seconds)

    async def _publish_alone(self, exchange: str, routing_key: str, message: Message, *, must_route: bool) -> None:
        """Publish, but never two messages with one id at once: the driver recognises returned messages by their id."""
        while message.message_id in self._in_flight:
            await asyncio.wait({self._in_flight[message.message_id]})
        if message.message_id:
            self._in_flight[message.message_id] = asyncio.get_running_loop().create_future()
        try:
            await _send(self._confirmed, exchange, routing_key, message, must_route=must_route)
        finally:
            if message.message_id:
                self._in_flight.pop(message.message_id).set_result(None)

    def publish_soon(self, exchange: str, routing_key: str, message: Message) -> None:
        """Have the message written with the next ones; dropped when too many wait."""
        if not is_open(self._unconfirmed) or len(self._waiting) >= MAX_WAITING:
            self._dropped += 1
            EVENTS_DROPPED.inc()
            return
        self._waiting.append((exchange, routing_key, message))
        self._has_waiting.set()

    async def _write_waiting(self) -> None:
        """Write what waits, many messages at once: per message, a task and a write cost more than the frames."""
        while True:
            await self._has_waiting.wait()
            channel, batch = (
                self._unconfirmed,
                [self._waiting.popleft() for _ in range(min(len(self._waiting), _WRITE_AT_ONCE))],
            )
            if not self._waiting:
                self._has_waiting.clear()
            if channel is not None and is_open(channel):
                # A deadline, because a full socket of a hanging broker would hold this task forever.
                with AbsenceIgnored():
                    await within(_WRITE_LIMIT_SECONDS, _write(channel, batch))
            self._report_dropped()

    def _report_dropped(self) -> None:
        if self._dropped:
            log.warning("broker.events_dropped", count=self._dropped)
            self._dropped = 0

    async def close(self) -> None:
        """Let what waits leave, if that takes no more than a moment."""
        with AbsenceIgnored():
            await within(CLOSE_SECONDS, self._flush())
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait({self._pump})

    async def _flush(self) -> None:
        while self._waiting and is_open(self._unconfirmed):
            await asyncio.sleep(0.005)
        for channel in (self._unconfirmed, self._announcing, self._confirmed):
            if channel is not None and is_open(channel):
                await channel.close()


async def _send(
    channel: Channel | None, exchange: str, routing_key: str, message: Message, *, must_route: bool
) -> None:
    if channel is None or not is_open(channel):
        raise ConnectionError("there is no connection")
    await channel.basic_publish(
        message.body,
        exchange=exchange,
        routing_key=routing_key,
        properties=encode_properties(message),
        mandatory=must_route,
        wait=False,
    )


async def _confirmed(send: Callable[[], Awaitable[None]], target: str, timeout_seconds: float) -> bool:
    """Wait until what `send` publishes is confirmed; whether a queue took it. Raises BrokerUnavailable."""
    try:
        async with asyncio.timeout(timeout_seconds):
            await send()
    except PublishError:
        return False
    except TimeoutError:
        raise BrokerUnavailable(f"RabbitMQ did not confirm {target} within {timeout_seconds:g} s") from None
    except DeliveryError:
        raise BrokerUnavailable(f"RabbitMQ refused {target}; is a queue full?") from None
    except (Exception, asyncio.CancelledError) as error:
        if not is_away(error):
            raise
        lost = f"the connection to RabbitMQ was lost before it confirmed {target}"
        raise BrokerUnavailable(f"{lost}: {error}" if str(error) else lost) from error
    return True


def _describe(exchange: str, routing_key: str) -> str:
    return f"a message to exchange {exchange!r} with routing key {routing_key!r}"


async def _write(channel: Channel, batch: list[_Outgoing]) -> None:
    drained = channel.create_future()
    payload = bytearray()
    for exchange, routing_key, message in batch:
        try:
            payload += encode_publish(exchange, routing_key, message, channel)
        except ENCODING_ERRORS as error:
            log.warning("broker.event_not_encoded", exchange=exchange, routing_key=routing_key, error=str(error))
    await channel.write_queue.put(ChannelFrame(bytes(payload), should_close=False, drain_future=drained))
    await drained
