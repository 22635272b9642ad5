"""Answers in one piece are what aiohttp would have sent, and hold no line that a header has smuggled in."""

import asyncio
from collections.abc import Mapping

import pytest
from aiohttp import web

from penstock.http_server import BareResponse, WholeResponse, head_of
from penstock.http_server.listening import BoundedServer

HEADERS = {"Content-Type": "application/json", "Penstock-Run-Id": "1", "X-Name": "Zoë"}
BODY = '{"name": "Zoë"}'.encode()


async def _respond(request: web.BaseRequest) -> web.StreamResponse:
    if request.path == "/whole":
        return WholeResponse(201, head_of(HEADERS), BODY)
    return BareResponse(status=201, body=BODY, headers=HEADERS)


async def _ask(requests: bytes) -> bytes:
    """All that is answered to these requests, of which the last asks for the end of the connection."""
    runner = web.ServerRunner(BoundedServer(_respond, auto_decompress=False), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", runner.addresses[0][1])
        writer.write(requests)
        answer = await reader.read()
        writer.close()
        return answer
    finally:
        await runner.cleanup()


def _request(path: str, *, end: bool = False) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{'Connection: close' if end else 'X-More: 1'}\r\n\r\n".encode()


def _parse(answer: bytes) -> tuple[bytes, Mapping[bytes, bytes], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}
    assert len(headers.pop(b"date")) == len("Thu, 01 Jan 1970 00:00:00 GMT")
    return status, headers, body


async def test_an_answer_in_one_piece_is_what_aiohttp_would_have_sent() -> None:
    whole, bare = await _ask(_request("/whole", end=True)), await _ask(_request("/bare", end=True))
    assert _parse(whole) == _parse(bare)
    assert _parse(whole)[2] == BODY


async def test_the_connection_goes_on_after_an_answer_in_one_piece() -> None:
    answers = await _ask(_request("/whole") + _request("/whole") + _request("/bare") + _request("/whole", end=True))
    assert answers.count(b"HTTP/1.1 201 Created\r\n") == 4
    assert answers.count(b"Connection: close") == 1
    assert answers.endswith(BODY)


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: x", "a\nb", "a\rb", "a\0b", "a\r\n"])
def test_a_header_of_several_lines_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="line break or a NUL"):
        head_of({"Location": value})
    with pytest.raises(ValueError, match="line break or a NUL"):
        head_of({value: "x"})
