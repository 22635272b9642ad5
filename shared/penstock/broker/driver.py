"""The edge to aio-pika: connections that can be cut off, deadlines that hold, and what the driver raises.

aio-pika opens the connections; channels are those of its driver, aiormq, because on the hot paths (publish, deliver,
settle) a message costs half as much there. Its robust layer is not used: what has to be restored after a loss is said
in this package, once.
"""

import asyncio
import struct
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar, cast

import aio_pika
import aiormq.channel
from aiormq.abc import AbstractConnection
from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from aiormq.exceptions import AMQPError
from pamqp.exceptions import PAMQPException
from pamqp.frame import FrameTypes
from yarl import URL

from penstock.broker.shield import as_stream_reader
from penstock.errors import ConfigurationError

T = TypeVar("T")
Connection = AbstractConnection
Channel = aiormq.channel.Channel

ENCODING_ERRORS: Final = (TypeError, ValueError, OverflowError, struct.error)
"""What the driver raises for a message that AMQP cannot hold."""
HEARTBEAT_SECONDS: Final = 10
CONNECT_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 2.0


class _Transport(TransportFactory):
    """Remembers the socket, so that a connection whose other end hangs can be cut off instead of waited for.

    Shields the driver from what it cannot decode.
    """

    def __init__(self, scheme: str) -> None:
        self._inner: TransportFactory = TLSTransportFactory() if scheme == "amqps" else TCPTransportFactory()
        self._writer: asyncio.StreamWriter | None = None

    async def create(self, url: URL, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, self._writer = await self._inner.create(url, **options)
        return as_stream_reader(reader), self._writer

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()


class Wire:
    """One open connection."""

    def __init__(self, connection: aio_pika.Connection, transport: _Transport) -> None:
        self._connection = connection
        self._transport = transport

    @property
    def driver(self) -> Connection:
        """The driver's connection. Raises ConnectionError when it is closed already."""
        if self._connection.transport is None:
            raise ConnectionError("the connection is closed")
        return self._connection.transport.connection

    async def close(self) -> None:
        """Close the connection, and cut it off when the broker does not answer quickly. Never raises."""
        try:
            await within(CLOSE_SECONDS, self._connection.close())
        except Exception:  # whatever it is, the other end does not answer as it should
            self.abort()

    def abort(self) -> None:
        """Cut it off: everything that waits on it fails at once."""
        self._transport.abort()


def parse_url(url: str, *, name: str) -> URL:
    """`url` with our heartbeat and the connection's name, as the driver wants them. Raises ConfigurationError."""
    try:
        parsed = URL(url)
    except ValueError:
        parsed = URL()
    if parsed.scheme not in {"amqp", "amqps"} or not parsed.host:
        raise ConfigurationError(
            "the address of RabbitMQ must look like amqp://user:password@host:5672/vhost; check PENSTOCK_AMQP_URL"
        )
    return parsed.update_query(heartbeat=HEARTBEAT_SECONDS, name=name)


async def open_wire(url: URL) -> Wire:
    """Connect. Raises what `is_away` knows."""
    transport = _Transport(url.scheme)
    connection = aio_pika.Connection(url)
    connection.kwargs["transport_factory"] = transport
    wire = Wire(connection, transport)
    try:
        await within(CONNECT_SECONDS, connection.connect())
    except BaseException:
        transport.abort()
        await connection.close()
        raise
    return wire


async def open_channel(connection: Connection, *, confirms: bool = False) -> Channel:
    """A new channel; with `confirms`, unroutable messages raise."""
    return cast("Channel", await connection.channel(publisher_confirms=confirms, on_return_raises=confirms))


def is_open(channel: Channel | None) -> bool:
    """Whether `channel` can be used."""
    return channel is not None and not channel.is_closed


def counts_nacks(connection: Connection) -> bool:
    """Whether a nack brings a message nearer to its delivery limit: before RabbitMQ 4.3 every return does."""
    version = connection.server_properties.get("version")
    numbers = version.split(".")[:2] if isinstance(version, str) else []
    return len(numbers) < 2 or not all(number.isdigit() for number in numbers) or tuple(map(int, numbers)) < (4, 3)


async def is_blocked(connection: Connection) -> bool:
    """Whether the broker has said that it reads nothing from us for now: out of memory or disk."""
    with suppress(TimeoutError):
        async with asyncio.timeout(0.01):
            await cast("Any", connection).ready()
            return False
    return True


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, or TimeoutError after `seconds`, even if the driver does not react to being cancelled.

    The driver cancels those who wait on a lost connection; here that is a ConnectionError.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(_retrieve)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            raise TimeoutError(f"no answer within {seconds:g} s")
        if task.cancelled():
            raise ConnectionError("the connection was lost")
        return task.result()
    finally:
        task.cancel()


def is_away(error: BaseException) -> bool:
    """Whether what the driver raised means that the broker, the connection or the channel is gone, or refuses.

    That is everything but its complaints about a message that AMQP cannot hold: beside its own class it raises errors
    of sockets and streams, RuntimeError for what is closed already, CancelledError for what is lost, a bare Exception
    when a connection closes without a reason, LookupError and AttributeError when it falls between two frames, and
    ValueError, with the frame, for a frame out of order.
    """
    if isinstance(error, asyncio.CancelledError):
        return not is_our_cancellation()
    if not isinstance(error, Exception):
        return False
    if isinstance(error, AMQPError | PAMQPException) or not isinstance(error, ENCODING_ERRORS):
        return True
    return any(isinstance(argument, FrameTypes) for argument in error.args)


class AbsenceIgnored:
    """`with AbsenceIgnored():` around what is pointless, or no longer needed, once the broker is away."""

    def __enter__(self) -> None:
        """Nothing is to be done."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """Swallow what `is_away` knows."""
        return error is not None and is_away(error)


def is_our_cancellation() -> bool:
    """Whether somebody asked for this CancelledError; the driver also raises it to say that the connection is lost."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _retrieve(task: asyncio.Task[T]) -> None:
    if not task.cancelled():
        task.exception()
