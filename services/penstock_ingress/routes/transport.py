"""Between aiohttp and the handlers: reads bodies within bounds, writes replies, and turns every failure into one."""

import asyncio
import re
from collections.abc import AsyncIterable, AsyncIterator
from http import HTTPStatus
from typing import Final

from aiohttp import HttpVersion11, web

from penstock.errors import DatabaseUnavailable, StorageUnavailable
from penstock.http_server import (
    LARGE_BYTES,
    BareResponse,
    BareStream,
    WholeResponse,
    head_of,
    readers_of,
    send_continue,
    take_body,
)
from penstock.logs import Reports, get_logger
from penstock_ingress.room import Room
from penstock_ingress.rules.bodies import ReceivedBody
from penstock_ingress.rules.client_address import find_client
from penstock_ingress.rules.replies import Refusal, Reply, problem, unavailable

log = get_logger(__name__)

RETRY_AFTER_SECONDS: Final = 5
ALLOWANCE: Final = web.RequestKey("allowance", dict[str, str])
"""Where a request keeps the headers that say how many more its caller may send."""
_TURN_SECONDS: Final = 5.0
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?", re.ASCII)


def address_of(room: Room, request: web.BaseRequest) -> str | None:
    """Where the request comes from, as far as the proxies that are trusted tell it."""
    trusted = room.settings.trusted_proxies
    if not trusted:
        return request.remote
    return find_client(request.remote, request.headers.getall("X-Forwarded-For", ()), trusted)


async def read_body(request: web.BaseRequest, *, most: int, seconds: float) -> bytes:
    """The body as it was sent. Raises Refusal when it is compressed, larger than `most` bytes, broken, or arrives too
    slowly.
    """
    _refuse_compression(request)
    if (request.content_length or 0) > most:
        raise _too_large(most)
    try:
        if request.content.is_eof():  # it came with the headers, as nearly all do
            body = take_body(request)
            if len(body) > most:
                raise _too_large(most)
            return body
        return await _collect(request, most, seconds)
    except (web.RequestPayloadError, ConnectionError):
        raise _broken() from None


async def _collect(request: web.BaseRequest, most: int, seconds: float) -> bytes:
    readers, body = readers_of(request), bytearray()
    if not isinstance(request, web.Request):  # an application has done so before its middlewares
        await send_continue(request)
    try:
        async with readers.reading(request.remote, seconds) as reader:
            while piece := await request.content.readany():
                body += piece
                readers.received(reader, len(piece))
                if len(body) > most:
                    raise _too_large(most)
    except TimeoutError:
        detail = f"the body did not arrive fast enough; send it at once, and within {seconds:g} s"
        raise Refusal(problem(408, detail, {"Connection": "close"})) from None
    return bytes(body)


async def receive(request: web.BaseRequest, *, most: int, seconds: float) -> ReceivedBody:
    """The body as `read_body` gives it, to be released by the caller. Of large ones only a few are in progress at once,
    because decoding multiplies them; the others wait their turn.
    """
    data = await read_body(request, most=most, seconds=seconds)
    if len(data) <= LARGE_BYTES:
        return ReceivedBody(data)
    turn = readers_of(request).large_in_work
    try:
        async with asyncio.timeout(_TURN_SECONDS):
            await turn.acquire()
    except TimeoutError:
        raise Refusal(unavailable("too many large bodies are in progress; try again in a moment", 1)) from None
    return ReceivedBody(data, turn.release)


async def read_pieces(request: web.BaseRequest, *, most: int, seconds: float) -> AsyncIterator[bytes]:
    """The body piece by piece; each has to come within `seconds`. Raises Refusal as `read_body` does."""
    _refuse_compression(request)
    if (request.content_length or 0) > most:
        raise _too_large(most)
    size = 0
    try:
        while True:
            async with asyncio.timeout(seconds):
                piece = await request.content.readany()
            if not piece:
                return
            size += len(piece)
            if size > most:
                raise _too_large(most)
            yield piece
    except TimeoutError:
        raise Refusal(problem(408, f"nothing arrived for {seconds:g} s", {"Connection": "close"})) from None
    except (web.RequestPayloadError, ConnectionError):
        raise _broken() from None


def to_response(reply: Reply) -> web.Response:
    """The reply as aiohttp sends it."""
    headers = {**reply.headers}
    if reply.body:
        headers["Content-Type"] = reply.content_type
    return BareResponse(status=reply.status, body=reply.body, headers=headers)


def answer_with(reply: Reply, request: web.BaseRequest) -> web.StreamResponse:
    """The same as `to_response`, in the cheapest way in which this request can be answered."""
    headers = reply.headers
    is_plain = reply.body and len(reply.body) <= LARGE_BYTES and reply.status >= HTTPStatus.OK
    if not is_plain or request.method == "HEAD" or request.version != HttpVersion11 or "Connection" in headers:
        return to_response(reply)
    return WholeResponse(reply.status, head_of({**headers, "Content-Type": reply.content_type}), reply.body)


async def send_pieces(request: web.BaseRequest, reply: Reply, content: AsyncIterable[bytes]) -> web.StreamResponse:
    """The reply with a content that is never whole in memory; to HEAD only headers. It ends when the client leaves."""
    response = BareStream(status=reply.status, headers={**reply.headers})
    await response.prepare(request)
    if request.method != "HEAD":
        async for piece in content:
            if not await _is_sent(response, piece):
                return response
    await response.write_eof()
    return response


async def _is_sent(response: web.StreamResponse, piece: bytes) -> bool:
    """Send a piece; False when the client has hung up, which does not fail the request."""
    try:
        await response.write(piece)
    except ConnectionError:
        return False
    return True


def origin_of(room: Room, request: web.BaseRequest) -> str:
    """What the URLs of this port begin with: PENSTOCK_PUBLIC_URL, else the host that the request names, without a
    scheme, as Bubble writes URLs of files.
    """
    if room.settings.public_url:
        return room.settings.public_url.rstrip("/")
    host = request.headers.get("Host", "")
    return f"//{host if _HOST.fullmatch(host) else 'localhost'}"


class FailureReplies:
    """The answer to a request that ended in an exception. Logs that the database is away, but not every time."""

    def __init__(self) -> None:
        self._away = Reports(log.error, "database.unavailable")

    def reply_to(self, error: Exception, route: str) -> Reply:
        """The reply: what a handler refused with, 503 for a database that is away, 500 for everything unexpected."""
        if isinstance(error, Refusal):
            return error.reply
        if isinstance(error, DatabaseUnavailable):
            self._away.add(error=str(error))
            return unavailable(
                "the database cannot be reached at this moment; nothing is lost if you send this again",
                RETRY_AFTER_SECONDS,
            )
        if isinstance(error, StorageUnavailable):
            self._away.add(error=str(error))
            return unavailable(
                "files cannot be reached at this moment; nothing is lost if you send this again", RETRY_AFTER_SECONDS
            )
        log.error("request.failed", route=route, error=f"{type(error).__name__}: {error}", exc_info=error)
        return problem(500, "something unexpected went wrong on the server; its log says what")


def _refuse_compression(request: web.BaseRequest) -> None:
    encoding = request.headers.get("Content-Encoding")
    if encoding is not None and encoding.strip().lower() != "identity":
        raise Refusal(problem(415, f"Content-Encoding {encoding[:50]} is not supported; send the body uncompressed"))


def _broken() -> Refusal:
    return Refusal(problem(400, "the body is not what its headers say", {"Connection": "close"}))


def _too_large(most: int) -> Refusal:
    return Refusal(
        problem(
            413, f"the body is larger than {most} bytes, which PENSTOCK_MAX_BODY_BYTES allows", {"Connection": "close"}
        )
    )
