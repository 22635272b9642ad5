"""Server-sent events (HTML Living Standard, section 9.2): an answer that does not end while its caller stays.

`EventStreams` owns what is the same for every stream of a process: how many there may be, the heartbeat that keeps
proxies from closing a quiet connection, the look at whether the caller may still see it, and the end at shutdown. What
is sent is a matter of the iterator that it is given. A stream may end at any event: callers reconnect by themselves and
name the last id that they have, so an id has to say where to continue.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from aiohttp import hdrs, web

from penstock.errors import DatabaseUnavailable
from penstock.http_server.responses import BareStream
from penstock.logs import get_logger
from penstock.metrics import EVENT_STREAMS

log = get_logger(__name__)

MAX_STREAMS: Final = 100
"""Of one process. Each takes a connection, and looks at the database about once a second."""
LOOK_SECONDS: Final = 0.5
"""How long a stream outlives the connection of its caller, when nothing is sent."""
RECONNECT_MILLISECONDS: Final = 2000
EVENT_STREAM: Final = "text/event-stream"
_HEADERS: Final = {
    hdrs.CONTENT_TYPE: EVENT_STREAM,
    hdrs.CACHE_CONTROL: "no-store",
    "X-Accel-Buffering": "no",  # nginx would keep events until a buffer is full
}


class ServerEvent(NamedTuple):
    """One event. `data` is text in UTF-8 (JSON without line ends, as a rule), `id` says where to continue behind it,
    `name` is the event's type; without one it is a `message`. Without data (None) it says where to continue, and nobody
    notices it as an event.
    """

    data: bytes | None
    id: str | None = None
    name: str | None = None

    def encoded(self) -> bytes:
        """As it is sent. Raises ValueError for an id or a name that would be more than one line."""
        fields = [(b"event", self.name), (b"id", self.id)]
        lines = [label + b": " + value.encode() for label, value in fields if value is not None]
        if any(b"\n" in line or b"\r" in line or b"\0" in line for line in lines):
            raise ValueError("the id or the name of an event holds a line end or a NUL")
        if self.data is not None:
            data = self.data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            lines += [b"data: " + line for line in data.split(b"\n")]
        return b"\n".join([*lines, b"", b""])


Events = AsyncGenerator[Sequence[ServerEvent], None]
"""What a stream sends: events that are there at once leave together. It waits for the next ones by itself."""
IsAllowed = Callable[[], Awaitable[bool]]


class Pace(NamedTuple):
    """How often a quiet stream sends something all the same, and for how long a caller may still see events after their
    token was revoked.
    """

    heartbeat_seconds: float = 15.0
    check_seconds: float = 5.0


class TooManyStreams(Exception):
    """This process sends as many streams as it may."""


class EventStreams:
    """The streams of one process; all end when `stop` is set."""

    def __init__(self, stop: asyncio.Event, *, max_streams: int = MAX_STREAMS, pace: Pace | None = None) -> None:
        self._stop = stop
        self._pace = pace or Pace()
        self._max_streams = max_streams
        self._count = 0

    async def send(self, request: web.BaseRequest, events: Events, is_allowed: IsAllowed) -> web.StreamResponse:
        """Answer `request` with `events` until they end, the caller leaves or is not allowed any more, or the process
        stops. To HEAD only the headers. Closes `events` in any case.

        Raises TooManyStreams, before anything is sent.
        """
        if self._count >= self._max_streams:
            await events.aclose()
            raise TooManyStreams(f"this process sends {self._max_streams} streams, as many as it may")
        self._count += 1
        EVENT_STREAMS.inc()
        response = BareStream(headers=_HEADERS)
        response.force_close()
        try:
            await response.prepare(request)
            if request.method != hdrs.METH_HEAD:
                await self._send_all(request, response, events, is_allowed)
        except ConnectionError:
            pass  # the caller has left
        finally:
            self._count -= 1
            EVENT_STREAMS.dec()
            await events.aclose()
        return response

    async def _send_all(
        self, request: web.BaseRequest, response: web.StreamResponse, events: Events, is_allowed: IsAllowed
    ) -> None:
        await response.write(b"retry: %d\n\n" % RECONNECT_MILLISECONDS)
        try:
            await _Sending(request, response, events, is_allowed).run(self._stop, self._pace)
        except ConnectionError:
            raise
        except DatabaseUnavailable as error:  # the caller comes again, and is answered with 503 while it is away
            log.info("stream.interrupted", error=str(error))
        except Exception as error:  # the head of the answer is sent: all that is left is to end it
            log.error("stream.failed", error=f"{type(error).__name__}: {error}", exc_info=error)
        await response.write_eof()


class _Sending:
    """One stream while it is sent."""

    def __init__(
        self, request: web.BaseRequest, response: web.StreamResponse, events: Events, is_allowed: IsAllowed
    ) -> None:
        self._request = request
        self._response = response
        self._events = events
        self._is_allowed = is_allowed
        self._sent_at = self._checked_at = asyncio.get_running_loop().time()

    async def run(self, stop: asyncio.Event, pace: Pace) -> None:
        """Send until something ends it. What is waited for is cancelled then, and has ended when this returns."""
        stopping = asyncio.create_task(stop.wait())
        coming = asyncio.create_task(self._next())
        try:
            while not stop.is_set() and self._is_connected and await self._is_still_allowed(pace.check_seconds):
                await asyncio.wait({stopping, coming}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if coming.done():
                    batch = coming.result()
                    if batch is None:
                        return
                    await self._write(b"".join([event.encoded() for event in batch]))
                    coming = asyncio.create_task(self._next())
                elif self._now - self._sent_at >= pace.heartbeat_seconds:
                    await self._write(b":\n\n")
        finally:
            for task in (stopping, coming):
                task.cancel()
            await asyncio.wait({stopping, coming})
            with suppress(asyncio.CancelledError):
                coming.exception()  # or its loss is reported when the task is collected

    async def _next(self) -> Sequence[ServerEvent] | None:
        return await anext(self._events, None)

    async def _write(self, data: bytes) -> None:
        if data:
            await self._response.write(data)
            self._sent_at = self._now

    async def _is_still_allowed(self, check_seconds: float) -> bool:
        if self._now - self._checked_at < check_seconds:
            return True
        self._checked_at = self._now
        return await self._is_allowed()

    @property
    def _is_connected(self) -> bool:
        transport = self._request.transport
        return transport is not None and not transport.is_closing()

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()
