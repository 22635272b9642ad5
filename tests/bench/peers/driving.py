"""Has a peer do the work: makes its environment, and runs its programs on the servers of the benchmark."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Final

import asyncpg

from penstock.testing.databases import fresh_database
from tests.bench.peers.catalogue import PROGRAMS, Peer
from tests.bench.peers.metering import Figures, Meter, processor_time
from tests.servers import Servers, fresh_vhost

HOME: Final = Path(os.environ.get("PENSTOCK_BENCH_HOME") or Path(tempfile.gettempdir()) / "penstock-bench-peers")
"""Where environments are kept between runs, and what the last worker of each peer said."""
_READY: Final = "ready"
_THINGS: Final = """
CREATE TABLE things (
    id bigserial PRIMARY KEY, job integer, asked double precision, began double precision, payload text,
    at timestamptz DEFAULT clock_timestamp()
)
"""


async def prepare(peer: Peer) -> Path:
    """The `bin/` of the peer's environment, which is made when it is not there or has other requirements."""
    directory, wanted = HOME / peer.name, "\n".join(peer.requirements)
    marker = directory / _READY
    if not marker.is_file() or marker.read_text() != wanted:
        await _call(sys.executable, "-m", "venv", "--clear", str(directory))
        await _call(str(directory / "bin" / "pip"), "install", "--quiet", *peer.requirements)
        marker.write_text(wanted)
    return directory / "bin"


class Arena:
    """A peer on a database and a virtual host of its own."""

    def __init__(self, peer: Peer, binaries: Path, database_url: str, amqp_url: str) -> None:
        self._peer = peer
        self._binaries = binaries
        self.url = database_url
        self._environment = {**os.environ, "PEER_DATABASE_URL": database_url, "PEER_AMQP_URL": amqp_url}

    async def call(self, *arguments: str) -> None:
        """Run the peer's program to its end."""
        await _call(str(self._binaries / "python"), self._peer.program, *arguments, environment=self._environment)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[int]:
        """A worker, whose pid is given; ended with the block."""
        command = self._peer.worker or ("python", self._peer.program, "work")
        with (HOME / f"{self._peer.name}.log").open("wb") as log:
            process = await self._start(command, log)
        try:
            yield process.pid
        finally:
            await _end(process)

    async def _start(self, command: Sequence[str], log: BinaryIO) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            str(self._binaries / command[0]), *command[1:],
            cwd=PROGRAMS, env=self._environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip

    async def fetchrow(self, query: str) -> asyncpg.Record:
        """The first row."""
        connection = await asyncpg.connect(self.url)
        try:
            row = await connection.fetchrow(query)
        finally:
            await connection.close()
        assert row is not None, query
        return row

    async def wait_for(self, jobs: int) -> None:
        """Wait until that many rows are there; looks at the sequence, which costs nothing."""
        async with asyncio.timeout(300):
            while (await self.fetchrow("SELECT last_value FROM things_id_seq"))[0] < jobs:
                await asyncio.sleep(0.1)
            while (await self.fetchrow("SELECT count(*) FROM things"))[0] < jobs:
                await asyncio.sleep(0.1)


@asynccontextmanager
async def arena(peer: Peer, servers: Servers) -> AsyncIterator[Arena]:
    """The peer, set up, with an empty table."""
    binaries = await prepare(peer)
    async with fresh_database(servers.database_url) as url, fresh_vhost(servers) as amqp_url:
        ready = Arena(peer, binaries, url, amqp_url)
        await ready.call("setup")
        connection = await asyncpg.connect(url)
        await connection.execute(_THINGS)
        await connection.close()
        yield ready


async def drain(peer: Peer, servers: Servers, jobs: int) -> Figures:
    """All jobs are queued, then the worker starts: from the first line of a job to the last row."""
    async with arena(peer, servers) as ground:
        await ground.call("enqueue", str(jobs))
        async with Meter(ground.url) as meter, ground.working() as worker:
            await ground.wait_for(jobs)
            used = processor_time(worker)
        row = await ground.fetchrow(
            "SELECT count(DISTINCT job) AS done, extract(epoch FROM max(at))::float8 - min(began) AS took FROM things"
        )
    assert row["done"] == jobs, f"{peer.name} did {row['done']} of {jobs} jobs"
    return meter.figures(jobs, jobs / float(row["took"]), used)


async def single_enqueues(peer: Peer, servers: Servers, jobs: int) -> float:
    """Jobs per second from the first call to the last row, asked for one by one while a worker works."""
    async with arena(peer, servers) as ground, ground.working():
        await ground.call("enqueue", "50")
        await ground.wait_for(50)
        await ground.call("enqueue", str(jobs))
        await ground.wait_for(50 + jobs)
        row = await ground.fetchrow(
            "SELECT extract(epoch FROM max(at))::float8 - min(asked) AS took FROM things WHERE id > 50"
        )
        return jobs / float(row["took"])


async def start_latency(peer: Peer, servers: Servers, jobs: int, per_second: int) -> tuple[float, float]:
    """Milliseconds from asking for a job to its first line, on an idle worker: the median, and the 99th percentile."""
    async with arena(peer, servers) as ground, ground.working():
        await ground.call("enqueue", "50")
        await ground.wait_for(50)
        await ground.call("paced", str(jobs), str(per_second))
        await ground.wait_for(50 + jobs)
        row = await ground.fetchrow(
            """
            SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY began - asked) AS waits
            FROM things WHERE id > 50
            """
        )
        median, p99 = row["waits"]
        return median * 1000, p99 * 1000


async def _call(*command: str, environment: dict[str, str] | None = None) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=PROGRAMS, env=environment,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {said.decode(errors='replace')[-2000:]}")


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and SIGKILL to what is left of its session."""
    for signal in (15, 9):
        try:
            os.killpg(process.pid, signal)
        except ProcessLookupError:
            break
        try:
            await asyncio.wait_for(process.wait(), 8)
        except TimeoutError:
            continue
    await process.wait()
