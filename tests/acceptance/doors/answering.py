"""Another server, which answers with any bytes that it is asked for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote

from tests.acceptance.doors.house import as_json
from tests.hostile import HOSTILE, Hostile, Kind

_ROWS = {(str(row.kind), row.name): row for row in HOSTILE}


@asynccontextmanager
async def serve_answers() -> AsyncIterator[str]:
    """The server, by its URL: `/<kind>/<name>` answers with that row."""
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        _, kind, name = head.split()[1].decode().split("/", 2)
        row = _ROWS[kind, unquote(name)]
        body = _body(row)
        lines = [b"HTTP/1.1 200 OK", b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
        if row.kind is Kind.HEADER:
            lines.append(b"X-Hostile: " + row.raw)
        writer.write(b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n" + body)
        await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


def _body(row: Hostile) -> bytes:
    if row.kind is Kind.BODY:
        return row.raw
    if row.kind is Kind.HEADER:
        return b"{}"
    return b'{"value": %s}' % (row.raw if row.kind is Kind.NUMBER else as_json(row.text))
