"""A `penstock up` as a process of its own, on a data directory of the test's."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from penstock.testing.ports import find_port
from tests.acceptance.console import PENSTOCK, QUICKSTART, Outcome, clean_environment, penstock
from tests.eventually import eventually


@dataclass
class Up:
    """Starts, watches and ends one `penstock up` after the other on the same data."""

    directory: Path
    arguments: Sequence[str] = ("--app", str(QUICKSTART))
    prefix: Sequence[str] = ()
    program: Sequence[str] = PENSTOCK
    port: int = field(default_factory=find_port)
    admin_port: int = field(default_factory=find_port)
    process: asyncio.subprocess.Process | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def token(self) -> str:
        return (self.data / "admin-token").read_text().strip()

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def out(self) -> str:
        return (self.directory / "out").read_text()

    @property
    def err(self) -> str:
        return (self.directory / "err").read_text()

    async def start(self, *more: str, says: str = "Penstock serves.", within: float = 60) -> None:
        """Start it and wait until it `says` so, with spaces and line ends wherever."""
        arguments = (
            "up",
            *self.arguments,
            "--data",
            str(self.data),
            "--port",
            str(self.port),
            "--admin-port",
            str(self.admin_port),
        )
        with (self.directory / "out").open("wb") as out, (self.directory / "err").open("wb") as err:
            self.process = await asyncio.create_subprocess_exec(
                *self.prefix,
                *self.program,
                *arguments,
                *more,
                env=clean_environment(PENSTOCK_LOG_FORMAT="json", PYTHONUNBUFFERED="1", **self.settings),
                cwd=self.directory,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        await eventually(lambda: self.has_ended or self.has_said(says), within=within, every=0.05)
        assert self.has_said(says)

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone: there is nothing more to wait for."""
        return self.process is not None and self.process.returncode is not None

    def has_said(self, text: str) -> bool:
        """Whether it has printed that; fails the test when the process has ended without."""
        is_running = self.process is not None and self.process.returncode is None
        has_said = text in " ".join(self.out.split())
        assert has_said or is_running, f"it ended:\n{self.out}\n{self.err}"
        return has_said

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(40):
            return await self.process.wait()

    async def command(self, *arguments: str, stdin: str | None = None) -> Outcome:
        """Another command of the command line, on this one's data."""
        return await penstock(*arguments, "--data", str(self.data), environment=clean_environment(), stdin=stdin)

    def memory_bytes(self) -> int:
        """What the process and its children take, each shared page counted once."""
        assert self.process is not None
        return sum(_proportional_bytes(pid) for pid in _family(self.process.pid))


@asynccontextmanager
async def up(directory: Path, prefix: Sequence[str] = ()) -> AsyncIterator[Up]:
    """An Up, started by `prefix`, that is ended with the block, one way or another."""
    running = Up(directory, prefix=prefix)
    try:
        yield running
    finally:
        if running.process is not None and running.process.returncode is None:
            running.process.kill()
            await running.process.wait()


@asynccontextmanager
async def short_directory() -> AsyncIterator[Path]:
    """A directory that an ordinary user may enter, with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="penstock-up-", ignore_cleanup_errors=True) as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


def _family(pid: int) -> list[int]:
    family = [pid]
    for child in _children().get(pid, []):
        family += _family(child)
    return family


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    return children


def _proportional_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
