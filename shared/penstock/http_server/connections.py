"""One connection: how long its head may take, what becomes of answers that nobody takes, and of what is not HTTP.

aiohttp bounds the size of a head and of its fields; it has no deadline for a head that has begun, closes no connection
whose peer reads nothing, and answers what it cannot parse in its own name, with a traceback in the log. All deadlines
are judged by one sweep of the server a second, because a timer per request would cost the fast ones.
"""

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.http import RawRequestMessage, StreamWriter
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import ERROR, PayloadAccessError

from penstock.http_server.readers import Readers
from penstock.http_server.responses import WholeResponse, closing_problem, raw_problem
from penstock.logs import get_logger

log = get_logger(__name__)

HEAD_SECONDS: Final = 10.0
"""From the first byte of a head to its last."""
MAX_HEAD_BYTES: Final = 64 * 1024
"""Of all headers together, because runs and deliveries keep them."""
UNTAKEN_SECONDS: Final = 30.0
"""After which an answer is dropped of which the peer has taken nothing."""
_SECONDS_BETWEEN_REPORTS: Final = 5.0
_TOO_LONG: Final = "the request line or a header is longer than is accepted; send shorter ones"
_MALFORMED: Final = "the request is not well-formed HTTP/1.1; check its request line, its headers and its length"
_TOO_SLOW: Final = f"the head of the request did not arrive within {HEAD_SECONDS:g} s; send it again"
_UNEXPECTED: Final = "something unexpected went wrong on the server; its log says what"
_ANSWERED: Final = PayloadAccessError()
"""For those who continue to read the body of a request that has been answered."""


class MalformedRequests:
    """Logs what is not HTTP, one line at a time: anybody can send as much of it as they like."""

    def __init__(self) -> None:
        self._unreported = 0
        self._next_report_at = 0.0

    def report(self, address: str | None, error: BaseException | None) -> None:
        """Count one more, and log the count unless that was done a moment ago."""
        self._unreported += 1
        now = asyncio.get_running_loop().time()
        if now >= self._next_report_at:
            self._next_report_at = now + _SECONDS_BETWEEN_REPORTS
            log.warning("http.malformed", requests=self._unreported, address=address, error=type(error).__name__)
            self._unreported = 0


class Connection(web.RequestHandler):
    """aiohttp's connection with deadlines, and with our answers to what it cannot parse."""

    __slots__ = (
        "_body",
        "_head_since",
        "_malformed",
        "_pending_bytes",
        "_untaken",
        "_untaken_since",
        "head_bytes",
        "readers",
    )

    def __init__(self, server: web.Server, readers: Readers, malformed: MalformedRequests, **settings: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **settings)
        self.readers = readers
        self._malformed = malformed
        self._body: StreamReader = EMPTY_PAYLOAD
        self._head_since: float | None = None
        self._untaken = 0
        self._untaken_since = 0.0
        self.head_bytes = 0
        """What came until the last head was complete, at least."""
        self._pending_bytes = 0

    @property
    def is_idle(self) -> bool:
        """Whether no request is in progress."""
        return self._waiter is not None

    @property
    def is_fresh(self) -> bool:
        """Whether no request has come yet."""
        return self._request_count == 0 and self.transport is not None

    async def start(self) -> None:
        """Answer the requests of this connection one after the other, until it ends.

        As aiohttp's, but without a task for each request, which is there to keep context variables apart: ours are set
        back by those who set them. It takes 3 of the 14 µs that a request costs here beside its socket and its handler.
        """
        while not self._force_close and await self._answer_next():
            if self._is_closing or not self._keepalive:
                break
            self._expect_another()
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    @property
    def _is_closing(self) -> bool:
        return self._close or self._force_close

    async def _answer_next(self) -> bool:
        """Wait for the next request and answer it; False when the client has left meanwhile."""
        if not self._messages:
            await self._wait()
        message, payload = self._messages.popleft()
        request, handle = self._take(message, payload)
        try:
            try:
                response, has_left = await self._handle_request(request, None, handle)
            except ConnectionError:
                return False
            if has_left:
                return False
            self._keepalive = bool(response.keep_alive)
            if not payload.is_eof():
                await self._linger(payload)
            payload.set_exception(_ANSWERED)
        except Exception as error:
            self.log_exception("a request", exc_info=error)
            self.force_close()
        except BaseException:
            self.force_close()
            raise
        finally:
            del request._task  # it would keep itself alive
        return True

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _take(self, message: Any, payload: StreamReader) -> tuple[web.BaseRequest, Any]:
        """A request, and who answers it; lets the parser continue with those that wait behind it."""
        assert self._manager is not None
        assert self._request_factory is not None
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        self._manager.requests_count += 1
        handle = self._request_handler
        if not isinstance(message, RawRequestMessage):
            message, handle = ERROR, self._make_error_handler(message)
        task = self._task_handler or asyncio.current_task()
        assert task is not None
        return self._request_factory(message, payload, self, StreamWriter(self, self._loop), task), handle

    async def _linger(self, payload: StreamReader) -> None:
        """Read what is left of a body that nobody wants, for a while, so that its sender sees the answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._lingering_time):
                while not self._force_close and not payload.is_eof():
                    await payload.readany()
        if not payload.is_eof() and not self._force_close:
            self.close()

    def _expect_another(self) -> None:
        """Close the connection some time after now, unless another request comes."""
        close_at = self._loop.time() + self._keepalive_timeout
        self._next_keepalive_close_time = close_at
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(close_at, self._process_keepalive)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the response; True when the client has left. One in a piece is written here and now."""
        if not isinstance(resp, WholeResponse) or self._upgraded:
            return await super().finish_response(request, resp, start_time)
        if self.transport is None or self.transport.is_closing():
            return resp, True
        self.transport.write(resp.encode(request))
        if self._paused:  # Who sends requests and takes no answers is not answered any further.
            await self._drain_helper()
        return resp, False

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and note when a head has begun that is not complete."""
        requests, is_body = self._request_count, not self._body.is_eof()
        try:
            super().data_received(data)
        except Exception as error:  # what the parser raises beside its own errors must not escape into the loop
            self._malformed.report(self._address, error)
            self._close_with(400, _MALFORMED)
            return
        if self._request_count != requests:
            self._head_since = None
            self.head_bytes, self._pending_bytes = self._pending_bytes + len(data), 0
            self._body = self._messages[-1][1] if self._messages else EMPTY_PAYLOAD
        elif not is_body:
            self._pending_bytes += len(data)
            if self._head_since is None:
                self._head_since = self._loop.time()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Called at the end of each body, too; then there is nothing to resume unless reading was paused."""
        if resume_parser or self._reading_paused:
            super().resume_reading(resume_parser)

    def check(self, now: float) -> None:
        """Close the connection when its head takes too long, or its peer takes nothing of an answer."""
        if self.transport is None:
            return
        if self._head_since is not None and self.is_idle and now - self._head_since > HEAD_SECONDS:
            self._close_with(408, _TOO_SLOW)
            return
        untaken = cast(asyncio.WriteTransport, self.transport).get_write_buffer_size()
        if not untaken or untaken != self._untaken:
            self._untaken, self._untaken_since = untaken, now
        elif now - self._untaken_since > UNTAKEN_SECONDS:
            cast(asyncio.WriteTransport, self.transport).abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is not HTTP, and to an exception that no handler has caught."""
        if status == HTTPStatus.BAD_REQUEST and isinstance(exc, HttpProcessingError):
            self._malformed.report(self._address, exc)
            is_too_long = isinstance(exc, LineTooLong)
            answer = closing_problem(431 if is_too_long else 400, _TOO_LONG if is_too_long else _MALFORMED)
        else:
            self.log_exception(message or "a request", exc_info=exc)
            answer = closing_problem(500, _UNEXPECTED)
        if request.writer.output_size > 0:
            raise ConnectionError("part of another answer was sent")
        return answer

    def log_exception(self, *args: object, **fields: object) -> None:
        """One line for an exception that no handler has caught."""
        error = fields.get("exc_info")
        shown = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(args[0])
        log.error("request.failed", error=shown, exc_info=error if isinstance(error, BaseException) else None)

    @property
    def _address(self) -> str | None:
        peer = self.peername
        return str(peer[0]) if isinstance(peer, tuple) and peer else None

    def _close_with(self, status: int, detail: str) -> None:
        """Say why, and close, although no request was understood."""
        if self.transport is not None and self.is_idle:
            cast(asyncio.WriteTransport, self.transport).write(raw_problem(status, detail))
        self.force_close()


def is_head_too_large(request: web.BaseRequest) -> bool:
    """Whether the headers of `request` are larger together than `MAX_HEAD_BYTES`."""
    connection = request.protocol
    # They are added up only when so much has come at all.
    if not isinstance(connection, Connection) or connection.head_bytes <= MAX_HEAD_BYTES:
        return False
    return sum(len(name) + len(value) for name, value in request.raw_headers) > MAX_HEAD_BYTES


def take_body(request: web.BaseRequest) -> bytes:
    """The body of a request that came whole, and of which nothing was read. Raises what has ended the connection."""
    content = request.content
    # As nearly all: in one piece. aiohttp's own way is for what may be read in part, and takes four calls.
    if content is not EMPTY_PAYLOAD and content.exception() is None and len(content._buffer) == 1:
        return content._buffer.popleft()
    return content.read_nowait()


def readers_of(request: web.BaseRequest) -> Readers:
    """The readers of the port at which `request` arrived."""
    connection = request.protocol
    assert isinstance(connection, Connection), "every port is opened by penstock.http_server"
    return connection.readers
