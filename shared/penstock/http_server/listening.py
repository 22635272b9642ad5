"""Opens a port for an application, or for one function, and closes it in the order that loses nothing."""

import asyncio
import os
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from aiohttp import StreamReader, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage

from penstock.errors import ConfigurationError
from penstock.http_server.connections import MAX_HEAD_BYTES, Connection, MalformedRequests, is_head_too_large
from penstock.http_server.readers import Readers
from penstock.http_server.responses import closing_problem

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_KEEPALIVE_SECONDS: Final = 75
_LINGER_SECONDS: Final = 5.0
"""How long a body that nobody wants is read, so that its sender sees the answer."""
_FIRST_REQUEST_SECONDS: Final = 1.0
"""How long a connection that has sent nothing yet is waited for when the port closes."""
_SWEEP_SECONDS: Final = 1.0
_MAX_CONNECTIONS: Final = 20_000
_CONTINUE: Final = "100-continue"
_HEAD: Final = f"the headers of the request are larger than {MAX_HEAD_BYTES} bytes together; send less"
_EXPECTATION: Final = "Expect: 100-continue is the only expectation that is met here; leave out the header"


class BoundedServer(web.Server):
    """aiohttp's server with our connections: their deadlines, and a bound on their number."""

    def __init__(self, handler: Handler, **settings: Any) -> None:
        super().__init__(_guarded(handler), **settings)
        self._readers = Readers()
        self._malformed = MalformedRequests()
        self.max_connections = _find_max_connections()

    def __call__(self) -> Connection:
        """The protocol of a new connection."""
        return Connection(self, self._readers, self._malformed, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Count it; when there are too many, the idle ones make room, the longest idle first."""
        super().connection_made(handler, transport)
        if len(self._connections) > self.max_connections:
            # Many at a time, because they have to be looked for. A dict keeps the order in which they came.
            idle = [known for known in self._connections if isinstance(known, Connection) and known.is_idle]
            for connection in idle[: self.max_connections // 20 + 1]:
                connection.force_close()

    def sweep(self, now: float) -> None:
        """Enforce the deadlines of all connections and readers. `now` is the loop's time."""
        self._readers.sweep(now)
        for connection in list(self._connections):
            if isinstance(connection, Connection):
                connection.check(now)


class _HandlerRunner(web.ServerRunner):
    """Serves one function. `leave` is called once nothing new is taken, before open requests are waited for."""

    __slots__ = ("_leave",)

    def __init__(self, server: web.Server, leave: Callable[[], Awaitable[None]], *, limit_seconds: float) -> None:
        super().__init__(server, handle_signals=False, shutdown_timeout=limit_seconds)
        self._leave = leave

    async def shutdown(self) -> None:
        await self._leave()


class _AppRunner(web.AppRunner):
    """Serves an application on a server of ours."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return BoundedServer(
            made.request_handler,
            request_factory=made.request_factory,
            **_connection_settings(auto_decompress=True),
        )


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int, *, limit_seconds: float = 5.0) -> AsyncIterator[int]:
    """Serve `app` while the block runs; yields the port. Leaving stops listening, then gives open requests
    `limit_seconds`. Raises ConfigurationError when the port is in use.
    """
    app.on_response_prepare.append(_remove_server_header)
    runner = _AppRunner(app, handle_signals=False, shutdown_timeout=limit_seconds)
    async with _listening(runner, host, port) as bound:
        yield bound


@asynccontextmanager
async def serving_handler(
    handle: Handler,
    host: str,
    port: int,
    *,
    most_bytes: int,
    limit_seconds: float,
    leave: Callable[[], Awaitable[None]],
) -> AsyncIterator[int]:
    """Serve by one function, without aiohttp's routes and signals, which cost a fast handler a twentieth of its time.

    Bodies are given as they were sent, at most `most_bytes`. The rest is as in `serving`.
    """
    loop = asyncio.get_running_loop()

    def make_request(
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=most_bytes)

    server = BoundedServer(handle, request_factory=make_request, **_connection_settings(auto_decompress=False))
    async with _listening(_HandlerRunner(server, leave, limit_seconds=limit_seconds), host, port) as bound:
        yield bound


async def send_continue(request: web.BaseRequest) -> None:
    """Ask for the body of a sender that waits with it (`Expect: 100-continue`, RFC 9110 section 10.1.1)."""
    if hdrs.EXPECT in request.headers and request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # nothing of the answer itself was sent


def _connection_settings(*, auto_decompress: bool) -> dict[str, Any]:
    return {
        "access_log": None,
        "keepalive_timeout": _KEEPALIVE_SECONDS,
        "lingering_time": _LINGER_SECONDS,
        "auto_decompress": auto_decompress,
    }


def _guarded(handle: Handler) -> Handler:
    """`handle`, but 417 for what a sender expects that nobody here can meet, and 431 for too large a head."""

    def answer(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        expected = request.headers.get(hdrs.EXPECT)
        if expected is not None and expected.strip().lower() != _CONTINUE:
            return _refuse(417, _EXPECTATION)
        if is_head_too_large(request):
            return _refuse(431, _HEAD)
        return handle(request)

    return answer


async def _refuse(status: int, detail: str) -> web.StreamResponse:
    return closing_problem(status, detail)


async def _remove_server_header(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.popall(hdrs.SERVER, None)


def _find_max_connections() -> int:
    """Three quarters of the files that this process may open, after asking for as many as it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_CONNECTIONS * 2 if hard == resource.RLIM_INFINITY else min(hard, _MAX_CONNECTIONS * 2)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return _MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else min(soft * 3 // 4, _MAX_CONNECTIONS)


@asynccontextmanager
async def _listening(runner: web.BaseRunner, host: str, port: int) -> AsyncIterator[int]:
    await runner.setup()
    serve = runner.server
    assert serve is not None, "it was set up"
    sweeping = asyncio.create_task(_sweep(runner))
    try:
        server = await _listen(serve, host, port)
        try:
            yield server.sockets[0].getsockname()[1] if server.sockets else port
        finally:
            await _stop_listening(server, serve)
    finally:
        await runner.cleanup()
        sweeping.cancel()
        await asyncio.wait({sweeping})


async def _listen(serve: web.Server, host: str, port: int) -> asyncio.Server:
    try:
        return await asyncio.get_running_loop().create_server(serve, host, port, backlog=2048)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error.strerror}; is another process using the port?"
        ) from error


async def _stop_listening(server: asyncio.Server, serve: web.Server) -> None:
    """Close the port, and take the connections that the system has made already: closing it would reset them, and so
    would closing a connection whose first request is on its way.
    """
    loop = asyncio.get_running_loop()
    listeners = [socket.socket(fileno=os.dup(listener.fileno())) for listener in server.sockets]
    server.close()
    for listener in listeners:
        with listener:  # until it ends, the system makes connections
            made = list(_accept_all(listener))
        for connection in made:
            await loop.connect_accepted_socket(serve, connection)
    deadline = loop.time() + _FIRST_REQUEST_SECONDS
    while _awaits_a_first_request(serve) and loop.time() < deadline:
        await asyncio.sleep(0.01)


def _accept_all(listener: socket.socket) -> Iterator[socket.socket]:
    listener.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            yield connection


def _awaits_a_first_request(server: web.Server) -> bool:
    return any(isinstance(one, Connection) and one.is_fresh for one in server.connections)


async def _sweep(runner: web.BaseRunner) -> None:
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        if isinstance(runner.server, BoundedServer):
            runner.server.sweep(asyncio.get_running_loop().time())
