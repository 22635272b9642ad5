"""A TCP server that passes everything on to another one, until the test cuts the connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class CuttableServer:
    """Made by `cuttable`; `url` is the other server's, with this one's port."""

    def __init__(self, url: str, port: int) -> None:
        self.url = url
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on, both ways."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, far_writer}
        await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))
        self._writers -= {writer, far_writer}

    def cut(self) -> None:
        """Reset all connections that are open now, on both sides."""
        for writer in self._writers:
            writer.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while received := await reader.read(65_536):
            writer.write(received)
            await writer.drain()
    writer.transport.abort()


@asynccontextmanager
async def cuttable(url: str) -> AsyncIterator[CuttableServer]:
    """A server in front of the one at `url`, on a free port of this machine."""
    parts = urlsplit(url)
    door = CuttableServer(url, parts.port or 5672)
    server = await asyncio.start_server(door.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    door.url = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}").geturl()
    try:
        yield door
    finally:
        server.close()
        door.cut()
