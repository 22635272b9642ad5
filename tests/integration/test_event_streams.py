"""Server-sent events as the server sends them, over real HTTP: what is in them, and what ends them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web

from penstock.errors import DatabaseUnavailable
from penstock.http_server import Events, EventStreams, Pace, ServerEvent, TooManyStreams, serving
from tests.eventually import eventually


@dataclass
class Port:
    """A port that streams what is put into `coming`; an exception among it is raised, None ends the stream."""

    pace: Pace = field(default_factory=Pace)
    max_streams: int = 3
    coming: asyncio.Queue[Sequence[ServerEvent] | Exception | None] = field(default_factory=asyncio.Queue)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    is_allowed: bool = True
    closed: int = 0
    url: str = ""

    def __post_init__(self) -> None:
        self.streams = EventStreams(self.stop, max_streams=self.max_streams, pace=self.pace)

    async def _events(self) -> Events:
        try:
            while (batch := await self.coming.get()) is not None:
                if isinstance(batch, Exception):
                    raise batch
                yield batch
        finally:
            self.closed += 1

    async def _check(self) -> bool:
        return self.is_allowed

    async def answer(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self.streams.send(request, self._events(), self._check)
        except TooManyStreams:
            return web.Response(status=503)

    @asynccontextmanager
    async def opened(self, http: aiohttp.ClientSession) -> AsyncIterator[aiohttp.ClientResponse]:
        async with http.get(self.url) as response:
            assert response.status == 200
            assert await response.content.readuntil(b"\n\n") == b"retry: 2000\n\n"
            yield response


Opens = Callable[[Port], Awaitable[Port]]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


@asynccontextmanager
async def listening(port: Port) -> AsyncIterator[Port]:
    app = web.Application()
    app.router.add_get("/", port.answer)
    async with serving(app, "127.0.0.1", 0) as number:
        port.url = f"http://127.0.0.1:{number}/"
        yield port


async def test_events_of_a_batch_come_in_order_each_with_its_id(http: aiohttp.ClientSession) -> None:
    async with listening(Port()) as port, port.opened(http) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        port.coming.put_nowait([ServerEvent(b"one", "1"), ServerEvent(b"two\r\nlines", "2", "line")])
        assert await response.content.readuntil(b"\n\n") == b"id: 1\ndata: one\n\n"
        assert await response.content.readuntil(b"\n\n") == b"event: line\nid: 2\ndata: two\ndata: lines\n\n"
        port.coming.put_nowait(None)
        assert await response.content.read() == b""
    assert port.closed == 1


@pytest.mark.parametrize("id", ["a\nb", "a\rb", "a\0b"])
def test_an_id_cannot_smuggle_in_a_field(id: str) -> None:
    with pytest.raises(ValueError, match="line end"):
        ServerEvent(b"", id).encoded()


async def test_a_quiet_stream_beats(http: aiohttp.ClientSession) -> None:
    async with listening(Port(Pace(heartbeat_seconds=0.1))) as port, port.opened(http) as response:
        assert await response.content.readuntil(b"\n\n") == b":\n\n"
        assert await response.content.readuntil(b"\n\n") == b":\n\n"


async def test_a_caller_who_is_refused_meanwhile_sees_no_more(http: aiohttp.ClientSession) -> None:
    async with listening(Port(Pace(check_seconds=0.0))) as port, port.opened(http) as response:
        port.coming.put_nowait([ServerEvent(b"seen")])
        assert await response.content.readuntil(b"\n\n") == b"data: seen\n\n"
        port.is_allowed = False
        assert await response.content.read() == b""
        port.coming.put_nowait([ServerEvent(b"unseen")])
    assert port.closed == 1


async def test_streams_end_when_the_process_stops(http: aiohttp.ClientSession) -> None:
    async with listening(Port()) as port, port.opened(http) as first, port.opened(http) as second:
        port.stop.set()
        assert await first.content.read() == await second.content.read() == b""


@pytest.mark.parametrize("error", [DatabaseUnavailable("away"), RuntimeError("unexpected")])
async def test_a_failure_ends_the_stream_as_a_whole_answer(http: aiohttp.ClientSession, error: Exception) -> None:
    async with listening(Port()) as port, port.opened(http) as response:
        port.coming.put_nowait(error)
        assert await response.content.read() == b""
        assert port.closed == 1


async def test_there_are_only_so_many_at_once_and_one_that_leaves_makes_room(http: aiohttp.ClientSession) -> None:
    async with listening(Port(max_streams=1)) as port:
        async with port.opened(http), http.get(port.url) as refused:
            assert refused.status == 503

        async def is_open() -> bool:
            async with http.get(port.url) as response:
                return response.status == 200

        await eventually(is_open)


async def test_head_is_answered_without_a_stream(http: aiohttp.ClientSession) -> None:
    async with listening(Port()) as port, http.head(port.url) as response:
        assert (response.status, await response.read()) == (200, b"")
