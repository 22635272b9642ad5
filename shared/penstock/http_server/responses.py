"""Answers that the server gives before any handler is asked. They are problem documents (RFC 9457)."""

from http import HTTPStatus
from typing import Final

import orjson
from aiohttp import hdrs, web

PROBLEM: Final = "application/problem+json"


class BareResponse(web.Response):
    """A response that does not say which software sent it."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall(hdrs.SERVER, None)


class BareStream(web.StreamResponse):
    """The same for an answer that is sent piece by piece."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall(hdrs.SERVER, None)


def problem_body(status: int, detail: str) -> bytes:
    """A problem document; `detail` says what was wrong and what to do."""
    title = HTTPStatus(status).phrase
    return orjson.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})


def closing_problem(status: int, detail: str) -> BareResponse:
    """A problem document as the last answer of its connection."""
    response = BareResponse(status=status, body=problem_body(status, detail), headers={hdrs.CONTENT_TYPE: PROBLEM})
    response.force_close()
    return response


def raw_problem(status: int, detail: str) -> bytes:
    """The same as bytes, for a connection on which no request was understood."""
    body = problem_body(status, detail)
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {PROBLEM}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
