"""A PostgreSQL server seen from outside: whether a cluster has one, and whether it accepts connections."""

import asyncio
import os
import struct
from pathlib import Path

_PROTOCOL_3 = 0x00030000


def find_postmaster(cluster: Path) -> int | None:
    """The process that serves `cluster`, by its lock file; None when there is none or the file is stale."""
    try:
        process = int((cluster / "postmaster.pid").read_text().splitlines()[0])
    except (OSError, IndexError, ValueError):
        return None
    try:
        # The server stands in its data directory. Numbers are reused, so that the process exists proves nothing.
        return process if os.path.samefile(f"/proc/{process}/cwd", cluster) else None
    except OSError:
        return process if not Path("/proc/self").exists() and _exists(process) else None


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def accepts_connections(socket_path: Path, user: str) -> bool:
    """Whether the server lets `user` into the database `postgres` now. While it starts or recovers it does not."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_unix_connection(str(socket_path))
            try:
                return await _greet(reader, writer, user)
            finally:
                writer.close()
                await writer.wait_closed()
    except (OSError, EOFError, TimeoutError):
        return False


async def _greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, user: str) -> bool:
    # A start-up message, answered message by message up to ReadyForQuery (Z) or ErrorResponse (E):
    # "Frontend/Backend Protocol" in PostgreSQL's manual.
    options = b"user\0" + user.encode() + b"\0database\0postgres\0\0"
    writer.write(struct.pack("!ii", 8 + len(options), _PROTOCOL_3) + options)
    while True:
        kind, length = struct.unpack("!ci", await reader.readexactly(5))
        await reader.readexactly(length - 4)
        if kind in (b"Z", b"E"):
            if kind == b"Z":
                writer.write(b"X\0\0\0\x04")  # Terminate
            return bool(kind == b"Z")
