"""Between aiohttp and the handlers: reads bodies within bounds, writes replies, and turns every failure into one."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from penstock.errors import DatabaseUnavailable
from penstock.logs import get_logger
from penstock_ingress.rules.replies import Refusal, Reply, problem, unavailable

log = get_logger(__name__)

RETRY_AFTER_SECONDS: Final = 5
_SECONDS_BETWEEN_REPORTS: Final = 5.0


async def read_body(request: web.BaseRequest, *, most: int, seconds: float) -> bytes:
    """The body as it was sent. Raises Refusal when it is compressed, larger than `most` bytes, broken, or takes longer
    than `seconds`.
    """
    _refuse_compression(request)
    if (request.content_length or 0) > most:
        raise _too_large(most)
    try:
        if request.content.is_eof():  # it came with the headers, as nearly all do
            return await request.read()
        async with asyncio.timeout(seconds):
            return await request.read()
    except TimeoutError:
        raise Refusal(problem(408, f"the body did not arrive within {seconds:g} s", {"Connection": "close"})) from None
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(most) from None
    except (web.RequestPayloadError, ConnectionError):
        raise Refusal(problem(400, "the body is not what its headers say", {"Connection": "close"})) from None


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
        raise Refusal(problem(400, "the body is not what its headers say", {"Connection": "close"})) from None


def to_response(reply: Reply) -> web.Response:
    """The reply as aiohttp sends it."""
    headers = {**reply.headers, "Server": "penstock"}
    if reply.body:
        headers["Content-Type"] = reply.content_type
    return web.Response(status=reply.status, body=reply.body, headers=headers)


class FailureReplies:
    """What a caller is told when its request ended in an exception. Says to operators that the database is away, but
    not every time.
    """

    def __init__(self) -> None:
        self._next_report_at = 0.0

    def reply_to(self, error: Exception, route: str) -> Reply:
        """The reply: what a handler refused with, 503 for a database that is away, 500 for everything unexpected."""
        if isinstance(error, Refusal):
            return error.reply
        if isinstance(error, DatabaseUnavailable):
            self._report(error)
            return unavailable(
                "the database cannot be reached at this moment; nothing is lost if you send this again",
                RETRY_AFTER_SECONDS,
            )
        log.error("request.failed", route=route, error=f"{type(error).__name__}: {error}", exc_info=error)
        return problem(500, "something unexpected went wrong on the server; its log says what")

    def _report(self, error: DatabaseUnavailable) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._next_report_at:
            self._next_report_at = now + _SECONDS_BETWEEN_REPORTS
            log.error("database.unavailable", error=str(error))


def _refuse_compression(request: web.BaseRequest) -> None:
    encoding = request.headers.get("Content-Encoding")
    if encoding is not None and encoding.strip().lower() != "identity":
        raise Refusal(problem(415, f"Content-Encoding {encoding[:50]} is not supported; send the body uncompressed"))


def _too_large(most: int) -> Refusal:
    return Refusal(
        problem(
            413, f"the body is larger than {most} bytes, which PENSTOCK_MAX_BODY_BYTES allows", {"Connection": "close"}
        )
    )
