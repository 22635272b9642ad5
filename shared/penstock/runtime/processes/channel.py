"""What parent and worker say to each other over a pair of sockets: one JSON document a line."""

import asyncio
import json
import socket
from contextlib import suppress
from typing import Final, cast

from pydantic import JsonValue

from penstock import exact_json

MAX_LINE_BYTES: Final = 64 * 1024 * 1024
"""The metrics of a worker are one line, of a megabyte at most."""
Said = dict[str, JsonValue]


class Channel:
    """One end of the pair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def say(self, said: Said) -> None:
        """Send it, without waiting; what the other side does not take, because it is gone, is lost."""
        with suppress(OSError, RuntimeError):
            self._writer.write(exact_json.dumps(said) + b"\n")

    async def hear(self) -> Said | None:
        """The next document; None when the other side is gone."""
        try:
            line = await self._reader.readline()
        except OSError:
            return None
        return cast("Said", json.loads(line)) if line.endswith(b"\n") else None

    async def close(self) -> None:
        """Send what is left, and close this end."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


async def open_channel(end: socket.socket) -> Channel:
    """The channel over one socket of a pair, which it owns from now on."""
    end.setblocking(False)
    return Channel(*await asyncio.open_connection(sock=end, limit=MAX_LINE_BYTES))
