"""The command `penstock` in a terminal: what a person sees, and Ctrl-C."""

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import termios
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.acceptance.console import PENSTOCK
from tests.eventually import eventually

_COLOURS: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A process that has a terminal of its own, and what it has printed there."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self._process, self._master = process, master
        self._printed = b""
        self._closed = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            part = os.read(self._master, 65536)
        except OSError:  # Linux's word for the end: nobody has the other side open
            part = b""
        self._printed += part
        if not part:
            asyncio.get_running_loop().remove_reader(self._master)
            self._closed.set()

    @property
    def text(self) -> str:
        """What was printed so far, without colours."""
        return _COLOURS.sub("", self._printed.decode(errors="replace")).replace("\r\n", "\n")

    async def wait_for(self, text: str, *, within: float = 60) -> None:
        """Wait until `text` was printed."""
        await eventually(lambda: text in self.text, within=within)

    def interrupt(self) -> None:
        """What Ctrl-C does: SIGINT for everyone in the terminal's foreground."""
        os.killpg(self._process.pid, signal.SIGINT)

    async def wait(self, *, within: float = 60) -> int:
        """The exit code, once all was printed."""
        async with asyncio.timeout(within):
            code = await self._process.wait()
            await self._closed.wait()
        return code


@asynccontextmanager
async def open_terminal(
    *arguments: str, environment: Mapping[str, str], width: int = 80, directory: Path | None = None
) -> AsyncIterator[Terminal]:
    """Run `penstock` with these arguments in a terminal that is `width` characters wide."""
    settings = {name: value for name, value in environment.items() if name != "COLUMNS"}
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *(*PENSTOCK, *arguments),
        env={**settings, "TERM": "xterm"},
        cwd=directory,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    terminal = Terminal(process, master)
    try:
        yield terminal
    finally:
        asyncio.get_running_loop().remove_reader(master)
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(master)
