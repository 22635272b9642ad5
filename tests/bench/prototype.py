"""The yardstick for performing runs: a prototype without claims, steps or expressions, kept beside the project's
documents.

It is driven as it is, in processes of its own, on the same servers. Absent (in a lone clone), its ratios are left out.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

HOME = Path(__file__).parents[3] / "shared" / "bench-peers"


class Prototype:
    """The prototype on a database `bench` of its own."""

    def __init__(self, database_url: str, amqp_url: str, scratch: Path) -> None:
        parts = urlsplit(database_url)
        self._admin_url = database_url
        self._url = f"postgresql://postgres@{parts.hostname}:{parts.port}/bench"
        self._environment = {
            **os.environ,
            "BENCH_HOME": str(scratch),
            "BENCH_PG_PORT": str(parts.port),
            "BENCH_AMQP": amqp_url,
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    async def prepare(self) -> None:
        """Make the role and the database that it expects."""
        admin = await asyncpg.connect(self._admin_url)
        try:
            await admin.execute("CREATE ROLE postgres SUPERUSER LOGIN")
            await admin.execute("CREATE DATABASE bench OWNER postgres")
        finally:
            await admin.close()

    async def drain(self, jobs: int) -> float:
        """Jobs per second, from the first task's start to the last row, all of them queued before the worker starts."""
        await self._run("setup")
        await self._create_things()
        await self._run("enqueue", str(jobs))
        async with self._worker():
            await self._wait_for(jobs)
        began, ended = await self._fetchrow("SELECT min(start), extract(epoch FROM max(at))::float8 FROM things")
        return jobs / (ended - began)

    async def start_latency_ms(self, jobs: int, per_second: int) -> float:
        """Median time from asking for a job to its first line, on an idle worker."""
        await self._run("setup")
        await self._create_things()
        async with self._worker():
            await asyncio.sleep(1.5)
            await self._run("latency", str(jobs), str(per_second))
            await self._wait_for(jobs)
        (median,) = await self._fetchrow(
            "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY start - enq) * 1000 FROM things"
        )
        return median

    async def _run(self, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "peer_proto.py",
            *arguments,
            cwd=HOME,
            env=self._environment,
            stdout=asyncio.subprocess.DEVNULL,
        )
        if await process.wait():
            raise RuntimeError(f"the prototype failed at {arguments}")

    @asynccontextmanager
    async def _worker(self) -> AsyncIterator[None]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "peer_proto.py", "worker", cwd=HOME, env=self._environment
        )
        try:
            yield
        finally:
            process.terminate()
            await process.wait()

    async def _create_things(self) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(
                """
                DROP TABLE IF EXISTS things;
                CREATE TABLE things (id bigserial PRIMARY KEY, job int, enq double precision,
                                     start double precision, payload text,
                                     at timestamptz DEFAULT clock_timestamp())
                """
            )
        finally:
            await connection.close()

    async def _wait_for(self, jobs: int) -> None:
        async with asyncio.timeout(120):
            while (await self._fetchrow("SELECT count(*) FROM things"))[0] < jobs:
                await asyncio.sleep(0.1)

    async def _fetchrow(self, query: str) -> tuple[float, ...]:
        connection = await asyncpg.connect(self._url)
        try:
            row = await connection.fetchrow(query)
        finally:
            await connection.close()
        assert row is not None
        return tuple(row)
