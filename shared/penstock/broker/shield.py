"""Keeps what strangers put into messages away from the driver's reader.

*The driver's quirk.* aiormq decodes each frame as it comes in, and pamqp raises for bytes that it cannot decode: a text
that is not UTF-8, a timestamp beyond the year 9999, a deeply nested table. That ends the whole connection. The message
stays in its queue, comes again over the next connection and ends that one too, and each time the broker counts a
delivery against everything that was prefetched.

So deliveries pass through here on their way to the driver: the properties are handed over as one header that holds
their bytes, which `penstock.broker.properties` reads when the delivery has arrived and can be settled. Other frames
come from RabbitMQ itself, or from us, and pass as they are.
"""

import asyncio
from collections import deque
from typing import Final, NamedTuple, cast

_METHOD, _HEADER, _BODY, _HEARTBEAT = 1, 2, 3, 8
_HEAD_BYTES: Final = 7
"""Of a frame: its kind, its channel (2), its length (4). Behind the payload stands one more byte that ends it."""
_DELIVER: Final = b"\x00\x3c\x00\x3c"
_TO_PROPERTIES: Final = 12
"""Of a content header: class (2), weight (2), size of the body (8)."""
_HEADERS_ONLY: Final = b"\x20\x00"
_RAW: Final = "raw"
_PROBLEM: Final = "problem"


class Shielded(NamedTuple):
    """What the driver was given as headers: the bytes of the properties, and what was wrong with its address."""

    raw: bytes
    problem: str | None


def unwrap(headers: object) -> Shielded | None:
    """What `ShieldedReader` has put into the headers of a delivery; None when it did not see it."""
    if not isinstance(headers, dict) or _RAW not in headers:
        return None
    problem = headers.get(_PROBLEM)
    return Shielded(bytes(headers[_RAW]), problem if isinstance(problem, str) else None)


class ShieldedReader:
    """Stands in for the StreamReader that the driver reads from."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._rest: deque[bytes] = deque()
        self._delivering: dict[bytes, str | None] = {}
        """Channels whose next header is that of a delivery, and what was wrong with how it was addressed."""

    def at_eof(self) -> bool:
        """Whether there is nothing left to read."""
        return not self._rest and self._reader.at_eof()

    async def read(self, n: int = -1) -> bytes:
        """See StreamReader. The driver calls it only to show what is not AMQP."""
        rest, self._rest = b"".join(self._rest), deque()
        return rest + await self._reader.read(n)

    async def readexactly(self, n: int) -> bytes:
        """See StreamReader."""
        if not self._rest:
            await self._read_frame()
        first = self._rest.popleft()
        if len(first) > n:
            self._rest.appendleft(first[n:])
            return first[:n]
        while len(first) < n:
            if not self._rest:
                await self._read_frame()
            piece = self._rest.popleft()
            missing = n - len(first)
            first += piece[:missing]
            if len(piece) > missing:
                self._rest.appendleft(piece[missing:])
        return first

    async def _read_frame(self) -> None:
        head = await self._reader.readexactly(_HEAD_BYTES)
        self._rest.append(head)
        kind, channel = head[0], head[1:3]
        if kind not in {_METHOD, _HEADER, _BODY, _HEARTBEAT}:
            return  # not AMQP, or another version of it: the driver says so
        tail = await self._reader.readexactly(int.from_bytes(head[3:], "big") + 1)
        if kind == _METHOD and tail.startswith(_DELIVER):
            tail, self._delivering[channel] = _clean_addresses(tail)
        elif kind == _HEADER and channel in self._delivering and len(tail) > _TO_PROPERTIES:
            tail = _wrap(tail, self._delivering.pop(channel))
            self._rest[-1] = head[:3] + (len(tail) - 1).to_bytes(4, "big")
        self._rest.append(tail)


def as_stream_reader(reader: asyncio.StreamReader) -> asyncio.StreamReader:
    """`reader`, shielded, in the type that the driver's annotations ask for."""
    return cast("asyncio.StreamReader", ShieldedReader(reader))


def _clean_addresses(tail: bytes) -> tuple[bytes, str | None]:
    """A Basic.Deliver whose exchange and routing key are UTF-8, no longer than they were; and what had to be replaced.

    Behind class and method lie the consumer's tag, which is ours, the delivery's tag (8) and the flag of redelivery
    (1).
    """
    begin = 4 + 1 + tail[4] + 9
    addresses = tail[begin:-1]
    exchange_end = 1 + addresses[0]
    exchange, routing_key = addresses[1:exchange_end], addresses[exchange_end + 1 :]
    try:
        exchange.decode()
        routing_key.decode()
    except UnicodeDecodeError:
        cleaned = b"".join(bytes([len(text)]) + text for text in map(_clean, (exchange, routing_key)))
        problem = f"routing key {routing_key!r} or exchange {exchange!r}: not UTF-8 text"
        return tail[:begin] + cleaned + tail[-1:], problem
    return tail, None


def _clean(text: bytes) -> bytes:
    return text.decode("utf-8", "replace").replace("\N{REPLACEMENT CHARACTER}", "?").encode()


def _wrap(tail: bytes, problem: str | None) -> bytes:
    """A content header whose only property is a table with the bytes of all properties."""
    raw = tail[_TO_PROPERTIES:-1]
    table = _field(_RAW, b"x", raw)
    if problem is not None:
        table += _field(_PROBLEM, b"S", problem.encode())
    return b"".join((tail[:_TO_PROPERTIES], _HEADERS_ONLY, len(table).to_bytes(4, "big"), table, tail[-1:]))


def _field(name: str, tag: bytes, value: bytes) -> bytes:
    return b"".join((bytes([len(name)]), name.encode(), tag, len(value).to_bytes(4, "big"), value))
