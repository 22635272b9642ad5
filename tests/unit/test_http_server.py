"""The HTTP server: malformed requests, expectations, and the deadlines and bounds of what is slow."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from penstock.http_server import WholeResponse, head_of, send_continue, serving
from penstock.http_server.connections import HEAD_SECONDS, UNTAKEN_SECONDS
from penstock.http_server.listening import BoundedServer, Handler
from penstock.http_server.readers import GRACE_SECONDS, MAX_READERS_PER_ADDRESS, MAX_UNFINISHED_BYTES, Readers
from tests.eventually import eventually

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
MALFORMED = [
    b"nonsense\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX-\x00: 1\r\n\r\n",
    b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n",
]


async def respond(request: web.BaseRequest) -> web.StreamResponse:
    """Reads the body, and answers with as many bytes as the path asks for."""
    await send_continue(request)
    await request.read()
    return web.Response(body=b"x" * int(request.path[1:] or 2))


@asynccontextmanager
async def listening(handle: Handler = respond) -> AsyncIterator[tuple[BoundedServer, int]]:
    """A server, and its port."""
    server = BoundedServer(handle, auto_decompress=False)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield server, runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection of a client."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    try:
        yield reader, writer
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def converse(port: int, sent: bytes) -> bytes:
    """All that comes back until the server closes the connection."""
    async with connected(port) as (reader, writer):
        writer.write(sent)
        return await reader.read()


def parse(answer: bytes) -> tuple[int, str, dict[str, object]]:
    """Status, headers in lower case, and document."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode().lower(), json.loads(body)


@pytest.mark.parametrize("sent", MALFORMED)
async def test_what_is_not_http_is_answered_with_a_problem_that_does_not_name_the_software(sent: bytes) -> None:
    async with listening() as (_, port):
        status, head, document = parse(await converse(port, sent))
    assert (status, document["status"]) == (400, 400)
    assert "content-type: application/problem+json" in head
    assert not any(word in head for word in ("server:", "aiohttp", "python"))


async def test_the_application_of_an_admin_port_does_not_name_its_software_either() -> None:
    async with serving(web.Application(), "127.0.0.1", 0) as port:
        missing = await converse(port, GET + b"Connection: close\r\n\r\n")
        status, head, _ = parse(await converse(port, MALFORMED[0]))
    assert missing.startswith(b"HTTP/1.1 404 ")
    assert (b"Server" in missing, status, "server:" in head) == (False, 400, False)


async def test_a_header_that_is_too_long_is_431() -> None:
    async with listening() as (_, port):
        status, _, document = parse(await converse(port, GET + b"X-Long: " + b"a" * 9000 + b"\r\n\r\n"))
    assert (status, document["title"]) == (431, "Request Header Fields Too Large")


async def test_headers_that_are_too_large_together_are_431() -> None:
    async with listening() as (_, port):
        fields = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 7000) for number in range(10))
        assert parse(await converse(port, GET + fields + b"\r\n"))[0] == 431
        few = fields[:50_000].rpartition(b"X-")[0]
        assert (await converse(port, GET + few + b"Connection: close\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_malformed_requests_are_one_line_of_log_and_not_one_each() -> None:
    with capture_logs() as lines:
        async with listening() as (_, port):
            for _ in range(30):
                await converse(port, MALFORMED[0])
    assert [(line["event"], line["requests"], line["address"]) for line in lines] == [
        ("http.malformed", 1, "127.0.0.1")
    ]
    assert "exc_info" not in lines[0]


async def test_a_body_that_waits_for_permission_is_asked_for() -> None:
    async with listening() as (_, port), connected(port) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")


async def test_another_expectation_is_417() -> None:
    async with listening() as (_, port), serving(web.Application(), "127.0.0.1", 0) as admin_port:
        for at in (port, admin_port):
            status, head, _ = parse(await converse(at, GET + b"Expect: junk\r\n\r\n"))
            assert (status, "content-type: application/problem+json" in head) == (417, True)


async def test_requests_that_are_sent_at_once_are_answered_in_order() -> None:
    requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(10, 110))
    async with listening() as (_, port):
        answers = await converse(port, requests + GET + b"Connection: close\r\n\r\n")
    lengths = [int(head.partition(b"\r\n")[0]) for head in answers.split(b"Content-Length: ")[1:]]
    assert lengths == [*range(10, 110), 2]


async def test_a_client_that_takes_no_answers_gets_no_further_ones() -> None:
    untaken: list[int] = []
    page = b"x" * 10_000

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request.transport, asyncio.WriteTransport)
        untaken.append(request.transport.get_write_buffer_size())
        return WholeResponse(200, head_of({}), page)

    async with listening(answer) as (_, port), connected(port) as (reader, writer):
        writer.write((GET + b"\r\n") * 2_000)
        for _ in range(2_000):
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(len(page))
    assert len(untaken) == 2_000
    assert max(untaken) < 200_000, "what is not taken would fill the memory"


async def test_a_client_that_leaves_before_its_answer_is_no_failure() -> None:
    arrived, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def respond_late(_: web.BaseRequest) -> web.StreamResponse:
        arrived.set()
        await go_on.wait()
        ended.set()
        return WholeResponse(200, head_of({}), b"late")

    with capture_logs() as lines:
        async with listening(respond_late) as (server, port):
            async with connected(port) as (_, writer):
                writer.write(GET + b"\r\n")
                await arrived.wait()
            await eventually(lambda: not any(known.connected for known in server.connections))
            go_on.set()
            await ended.wait()
            await eventually(lambda: not server.connections)
    assert lines == []


async def test_a_head_that_does_not_arrive_is_given_up_after_its_deadline() -> None:
    async with listening() as (server, port), connected(port) as (reader, writer):
        writer.write(GET)
        answer = asyncio.create_task(reader.read())

        def is_given_up() -> bool:
            server.sweep(asyncio.get_running_loop().time() + HEAD_SECONDS + 1)
            return answer.done()

        await eventually(is_given_up)
        status, _, _ = parse(await answer)
    assert status == 408


async def test_a_connection_that_is_kept_open_between_requests_has_no_deadline_for_a_head() -> None:
    async with listening() as (server, port), connected(port) as (reader, writer):
        for pieces in ((GET + b"\r\n",), (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n", b"o", b"k")):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            await reader.readuntil(b"\r\n\r\nxx")
            server.sweep(asyncio.get_running_loop().time() + HEAD_SECONDS + 1)
            assert not reader.at_eof()


async def test_an_answer_that_nobody_takes_is_dropped() -> None:
    async with listening() as (server, port), connected(port) as (reader, writer):
        writer.write(b"GET /50000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readexactly(100)

        def is_stuck() -> bool:
            server.sweep(0.0)
            server.sweep(UNTAKEN_SECONDS + 1)
            return not server.connections

        await eventually(is_stuck)


async def test_connections_beyond_the_bound_take_the_place_of_idle_ones() -> None:
    async with listening() as (server, port):
        server.max_connections = 20
        async with AsyncExitStack() as stack:
            for _ in range(40):
                await stack.enter_async_context(connected(port))
            await eventually(lambda: 0 < len(server.connections) <= 20)
            assert (await converse(port, GET + b"Connection: close\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def read_for_ever(readers: Readers, address: str, held: int = 0) -> str:
    async with readers.reading(address, 60) as reader:
        readers.received(reader, held)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if reader.is_given_up:
                return "given up"
            raise
    return "impossible"


async def test_of_too_many_readers_of_an_address_the_oldest_is_given_up() -> None:
    readers = Readers()
    other = asyncio.create_task(read_for_ever(readers, "other"))
    tasks = [asyncio.create_task(read_for_ever(readers, "a")) for _ in range(MAX_READERS_PER_ADDRESS + 2)]
    assert await asyncio.gather(*tasks[:2]) == ["given up"] * 2
    assert (readers.count, other.done(), any(task.done() for task in tasks[2:])) == (251, False, False)
    for task in (other, *tasks):
        task.cancel()
    await asyncio.gather(other, *tasks, return_exceptions=True)
    assert readers.count == 0


async def test_unfinished_bodies_hold_a_bounded_number_of_bytes() -> None:
    readers, held = Readers(), MAX_UNFINISHED_BYTES // 2
    tasks = [asyncio.create_task(read_for_ever(readers, str(number), held)) for number in range(3)]
    assert await tasks[0] == "given up"
    assert readers.count == 2
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_body_that_comes_byte_by_byte_is_given_up_after_a_grace() -> None:
    readers = Readers()
    slow = asyncio.create_task(read_for_ever(readers, "slow", 10))
    quick = asyncio.create_task(read_for_ever(readers, "quick", 100_000))
    await asyncio.sleep(0)
    readers.sweep(asyncio.get_running_loop().time() + GRACE_SECONDS + 5)
    assert await slow == "given up"
    assert not quick.done()
    quick.cancel()
    await asyncio.gather(quick, return_exceptions=True)
