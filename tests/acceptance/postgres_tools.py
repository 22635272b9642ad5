"""What an operator does with PostgreSQL's own programs, as docs say: back up, restore, keep a standby."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from penstock.embedded.binaries import find_binaries
from tests.private_servers import PrivatePostgres


async def back_up(url: str, directory: Path) -> None:
    """The roles and the database at `url`, as of one moment, into `directory`."""
    await _run("pg_dumpall", "--roles-only", "--no-role-passwords", "-d", url, "-f", str(directory / "roles.sql"))
    await _run("pg_dump", "--format=custom", "-d", url, "-f", str(directory / "penstock.dump"))


async def restore(url: str, directory: Path) -> None:
    """What `back_up` wrote, into the empty database at `url`."""
    await _run("psql", "--quiet", "-d", url, "-f", str(directory / "roles.sql"))
    await _run("pg_restore", "--exit-on-error", "-d", url, str(directory / "penstock.dump"))


@asynccontextmanager
async def standby_of(primary: PrivatePostgres) -> AsyncIterator[PrivatePostgres]:
    """A running standby. Commits on the primary are answered once the standby has them on its disk."""
    with tempfile.TemporaryDirectory(prefix="penstock-tests-", ignore_cleanup_errors=True) as directory:
        cluster = Path(directory, "postgres")
        await _run("pg_basebackup", "-d", primary.url, "-D", str(cluster), "--write-recovery-conf", "--checkpoint=fast")
        standby = PrivatePostgres(Path(directory))
        try:
            await standby.start()
            await execute(primary.url, "ALTER SYSTEM SET synchronous_standby_names = '*'")
            await execute(primary.url, "SELECT pg_reload_conf()")
            yield standby
        finally:
            await standby.stop()


async def execute(url: str, statement: str) -> None:
    """One statement, on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _run(name: str, *arguments: str) -> None:
    running = await asyncio.create_subprocess_exec(
        find_binaries().directory / name,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await running.communicate()
    assert running.returncode == 0, f"{name}: {output.decode()}"
