"""Answers that the server gives before any handler is asked. They are problem documents (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import orjson
from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

PROBLEM: Final = "application/problem+json"
_CLOSE: Final = "Connection: close\r\n"


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


class WholeResponse(web.StreamResponse):
    """A response to HTTP/1.1 whose body is known, written in one piece.

    For a short answer, what aiohttp does to collect headers and bodies of all kinds costs as much as the rest of a fast
    handler. Not for answers without a body by their status or method.
    """

    def __init__(self, status: int, head: str, body: bytes) -> None:
        """`head` is the header lines, each with its CRLF, without those about length, date and connection."""
        super().__init__(status=status)
        self._head = head
        self._content = body

    def encode(self, request: web.BaseRequest) -> bytes:
        """All of it, as an answer to `request`."""
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        head = (
            f"HTTP/1.1 {self._status} {self._reason}\r\n{self._head}Content-Length: {len(self._content)}\r\n"
            f"Date: {rfc822_formatted_time()}\r\n{'' if self._keep_alive else _CLOSE}\r\n"
        )
        return head.encode() + self._content

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Write all of it."""
        await request.writer.write(self.encode(request))
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        """All is written."""
        del data
        self._eof_sent = True


def head_of(headers: Mapping[str, str]) -> str:
    """Header lines. Raises ValueError for what would be more than one line."""
    head = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if head.count("\n") != len(headers) or head.count("\r") != len(headers) or "\0" in head:
        raise ValueError("a header holds a line break or a NUL")
    return head


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
