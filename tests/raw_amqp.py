"""A publisher that writes AMQP 0-9-1 frames itself, so that a message may hold what no library would send."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

_METHOD, _HEADER, _BODY = 1, 2, 3
_CONNECTION, _CHANNEL, _BASIC, _CONFIRM = 10, 20, 60, 85
_FLAGS = {
    "content_type": 15, "content_encoding": 14, "headers": 13, "delivery_mode": 12, "priority": 11,
    "correlation_id": 10, "reply_to": 9, "expiration": 8, "message_id": 7, "timestamp": 6, "type": 5, "user_id": 4,
    "app_id": 3, "cluster_id": 2,
}  # fmt: skip
"""The bit of each property, in the order in which their values follow."""


class RefusedByBroker(Exception):
    """RabbitMQ itself closed the channel or the connection for what was sent."""


def short(text: bytes) -> bytes:
    """A short string."""
    return bytes([len(text)]) + text


def long(text: bytes) -> bytes:
    """A long string, and anything else that begins with four bytes of length."""
    return struct.pack(">I", len(text)) + text


def table(*fields: tuple[bytes, bytes]) -> bytes:
    """A table of names and values; a value is its type's letter and its bytes."""
    return long(b"".join(short(name) + value for name, value in fields))


def properties(**values: bytes) -> bytes:
    """Flags and values, the values as they are given."""
    flags = sum(1 << _FLAGS[name] for name in values)
    return struct.pack(">H", flags) + b"".join(values[name] for name in _FLAGS if name in values)


class RawPublisher:
    """One channel with confirms. Made by `raw_publisher`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def open(self, user: str, password: str, vhost: str) -> None:
        """Log in, and open the channel."""
        self._writer.write(b"AMQP\x00\x00\x09\x01")
        await self._expect(_CONNECTION, 10)
        login = table() + short(b"PLAIN") + long(f"\0{user}\0{password}".encode()) + short(b"en_US")
        self._call(0, _CONNECTION, 11, login)
        await self._expect(_CONNECTION, 30)
        self._call(0, _CONNECTION, 31, struct.pack(">HIH", 10, 131_072, 0))
        self._call(0, _CONNECTION, 40, short(vhost.encode()) + b"\x00\x00")
        await self._expect(_CONNECTION, 41)
        self._call(1, _CHANNEL, 10, b"\x00")
        await self._expect(_CHANNEL, 11)
        self._call(1, _CONFIRM, 10, b"\x00")
        await self._expect(_CONFIRM, 11)

    async def publish(
        self, exchange: str, body: bytes, raw: bytes = b"\x00\x00", *, key: bytes = b"x", header: bytes | None = None
    ) -> None:
        """Publish, and wait for the confirm. `raw` are the properties, `header` the whole payload of the header frame.

        Raises RefusedByBroker.
        """
        self._call(1, _BASIC, 40, b"\x00\x00" + short(exchange.encode()) + short(key) + b"\x00")
        self._frame(_HEADER, 1, header or struct.pack(">HHQ", _BASIC, 0, len(body)) + raw)
        for start in range(0, len(body), 100_000):
            self._frame(_BODY, 1, body[start : start + 100_000])
        await self._expect(_BASIC, 80)

    def _call(self, channel: int, class_id: int, method: int, arguments: bytes) -> None:
        self._frame(_METHOD, channel, struct.pack(">HH", class_id, method) + arguments)

    def _frame(self, kind: int, channel: int, payload: bytes) -> None:
        self._writer.write(struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce")

    async def _expect(self, class_id: int, method: int) -> None:
        try:
            _, _, length = struct.unpack(">BHI", await self._reader.readexactly(7))
            payload = await self._reader.readexactly(length + 1)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise RefusedByBroker("RabbitMQ hung up") from error
        if payload[:4] != struct.pack(">HH", class_id, method):
            raise RefusedByBroker(repr(payload))


@asynccontextmanager
async def raw_publisher(url: str) -> AsyncIterator[RawPublisher]:
    """A publisher at `url`, such as `amqp://guest:guest@localhost:5672/vhost`."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 5672)
    try:
        publisher = RawPublisher(reader, writer)
        await publisher.open(parts.username or "guest", parts.password or "guest", unquote(parts.path[1:]) or "/")
        yield publisher
    finally:
        writer.close()
