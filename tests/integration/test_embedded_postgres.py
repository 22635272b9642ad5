"""The PostgreSQL that `penstock up` brings along: it starts anywhere, loses nothing to a kill, and never outlives its
parent.
"""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from penstock.embedded.disk import sync_file_system
from penstock.embedded.postgres import PostgresServer, embedded_postgres
from penstock.embedded.postmaster import find_postmaster
from penstock.errors import ConfigurationError
from tests.eventually import eventually

SHARED = Path(__file__).parents[2] / "shared"
# Prints the URL once the server is up, then waits to be killed.
HOLDER = """
import asyncio, pathlib, sys
from penstock.embedded.disk import sync_file_system
from penstock.embedded.postgres import embedded_postgres
async def main():
    async with embedded_postgres(pathlib.Path(sys.argv[1])) as url:
        print(url, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def execute(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url, timeout=5)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def postmaster_of(data_dir: Path) -> int:
    process = find_postmaster(data_dir / "postgres")
    assert process is not None
    return process


async def start_holder(data_dir: Path, *prefix: str, **environment: str) -> tuple[asyncio.subprocess.Process, str]:
    """A process of its own that keeps an embedded PostgreSQL, and the URL of that."""
    holder = await asyncio.create_subprocess_exec(
        *(*prefix, sys.executable, "-c", HOLDER, str(data_dir)),
        env={**os.environ, "PYTHONPATH": str(SHARED), **environment},
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    async with asyncio.timeout(60):
        url = (await holder.stdout.readline()).decode().strip()
    assert url, f"it ended with {await holder.wait()}"
    return holder, url


async def end(holder: asyncio.subprocess.Process) -> None:
    if holder.returncode is None:
        holder.kill()
    await holder.communicate()


@pytest.fixture
async def data_dir() -> AsyncIterator[Path]:
    """Short enough for a socket's path, unlike tmp_path; every server on it has to be gone at the end."""
    with tempfile.TemporaryDirectory(prefix="pst-") as directory:
        yield Path(directory)
        await eventually(lambda: find_postmaster(Path(directory) / "postgres") is None)


async def test_data_is_still_there_after_a_stop_and_a_second_start(data_dir: Path) -> None:
    async with embedded_postgres(data_dir) as url:
        await execute(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        assert await execute(url, "SHOW fsync") == "on"
        assert await execute(url, "SHOW listen_addresses") == ""
    assert find_postmaster(data_dir / "postgres") is None
    async with embedded_postgres(data_dir) as url:
        assert await execute(url, "SELECT answer FROM kept") == 42


async def test_after_a_crash_the_disk_is_waited_for_once_and_not_for_each_file(data_dir: Path) -> None:
    async with embedded_postgres(data_dir) as url:
        way = await execute(url, "SHOW recovery_init_sync_method")
    assert way == ("syncfs" if sys.platform == "linux" else "fsync")


def test_what_was_written_is_brought_to_the_disk(tmp_path: Path) -> None:
    sync_file_system(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_file_system(tmp_path / "nowhere")


async def test_settings_of_another_server_in_the_environment_are_not_taken(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGOPTIONS", "-c nonsense=1")
    async with embedded_postgres(data_dir):
        command = Path(f"/proc/{postmaster_of(data_dir)}/environ").read_bytes()
        assert b"PGPORT" not in command
        assert b"PGOPTIONS" not in command


async def test_a_killed_server_is_restarted_at_the_same_address_with_nothing_lost(data_dir: Path) -> None:
    async with embedded_postgres(data_dir) as url:
        await execute(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        os.kill(postmaster_of(data_dir), signal.SIGKILL)

        async def answers() -> bool:
            try:
                return await execute(url, "SELECT answer FROM kept") == 42
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return False

        await eventually(answers, within=30)


async def test_the_server_ends_when_its_parent_is_killed_and_the_next_parent_finds_everything(data_dir: Path) -> None:
    holder, url = await start_holder(data_dir)
    await execute(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    holder.kill()
    await end(holder)
    async with embedded_postgres(data_dir) as url:  # at once: it waits for the old server's end by itself
        assert await execute(url, "SELECT answer FROM kept") == 42


async def test_a_stale_lock_file_with_the_number_of_a_living_process_does_not_hinder_a_start(data_dir: Path) -> None:
    async with embedded_postgres(data_dir):
        lock_file = (data_dir / "postgres" / "postmaster.pid").read_text()
        socket_lock = (data_dir / "socket" / ".s.PGSQL.5432.lock").read_text()
    _, *rest = lock_file.splitlines()
    (data_dir / "postgres" / "postmaster.pid").write_text("\n".join((str(os.getpid()), *rest)) + "\n")
    (data_dir / "socket").mkdir()
    (data_dir / "socket" / ".s.PGSQL.5432.lock").write_text(
        socket_lock.replace(socket_lock.split()[0], str(os.getpid()), 1)
    )
    (data_dir / "socket" / ".s.PGSQL.5432").touch()
    async with embedded_postgres(data_dir) as url:
        assert await execute(url, "SELECT 1") == 1


async def test_what_a_killed_initdb_left_is_made_anew(data_dir: Path) -> None:
    (data_dir / "postgres.new").mkdir()
    (data_dir / "postgres.new" / "PG_VERSION").write_text("18\n")
    async with embedded_postgres(data_dir) as url:
        assert await execute(url, "SELECT 1") == 1


async def test_a_second_start_on_the_same_directory_is_refused_while_the_first_runs(data_dir: Path) -> None:
    async with embedded_postgres(data_dir) as url:
        with pytest.raises(ConfigurationError, match=r"is in use by another `penstock up`"):
            await PostgresServer(data_dir).start()
        assert await execute(url, "SELECT 1") == 1, "the first is not disturbed"


async def test_data_of_another_major_version_is_refused_by_name(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir()
    (data_dir / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(
        ConfigurationError, match=r"holds data of PostgreSQL 9, which only that version can read.*found: 1"
    ):
        await PostgresServer(data_dir).start()


async def test_a_data_directory_too_long_for_a_socket_works(data_dir: Path) -> None:
    long = data_dir / ("a" * 60) / ("b" * 60)
    async with embedded_postgres(long) as url:
        assert await execute(url, "SELECT 1") == 1
        sockets = Path((long / "postgres" / "postmaster.pid").read_text().splitlines()[4])
        assert not sockets.is_relative_to(data_dir)
    assert not sockets.exists()


async def test_a_server_that_does_not_come_up_says_why(data_dir: Path) -> None:
    async with embedded_postgres(data_dir):
        pass
    (data_dir / "postgres" / "postgresql.conf").write_text("nonsense = on\n")
    with pytest.raises(ConfigurationError, match=r"(?s)did not start.*unrecognized configuration parameter"):
        await PostgresServer(data_dir).start()
    async with asyncio.timeout(5):  # and it lets go of the directory
        with pytest.raises(ConfigurationError, match="did not start"):
            await PostgresServer(data_dir).start()


async def test_a_directory_one_may_not_write_to_is_named(data_dir: Path) -> None:
    file = data_dir / "file"
    file.touch()
    with pytest.raises(ConfigurationError, match=r"cannot write to .*/file/data.*--data"):
        await PostgresServer(file / "data").start()


async def test_it_runs_as_root_where_user_namespaces_are_refused(data_dir: Path) -> None:
    """As in most containers. An ordinary user needs neither way, and runs the same test without them."""
    programs = data_dir / "programs"
    programs.mkdir()
    for name in ("setpriv", "true"):
        (programs / name).symlink_to(shutil.which(name) or name)
    data = data_dir / "data"
    data.mkdir(mode=0o700)  # nobody else gets through
    holder, url = await start_holder(data / "deep", PATH=str(programs))
    try:
        await execute(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        owner = (data / "deep" / "postgres").stat().st_uid
        assert owner == (pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid())
    finally:
        await end(holder)
    # What one way has written, another one reads: here with namespaces, where they are allowed.
    async with embedded_postgres(data / "deep") as url:
        assert await execute(url, "SELECT answer FROM kept") == 42
        await execute(url, "INSERT INTO kept VALUES (43)")


async def test_it_runs_as_an_ordinary_user(data_dir: Path) -> None:
    """Started as root, this test becomes somebody else; the programs have to be where that user can read them."""
    if os.geteuid() != 0:
        async with embedded_postgres(data_dir) as url:
            assert await execute(url, "SELECT 1") == 1
            assert (data_dir / "postgres").stat().st_uid == os.geteuid()
        return
    nobody = pwd.getpwnam("nobody")
    data_dir.chmod(0o755)
    home = data_dir / "home"
    home.mkdir()
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    # The interpreter may live where only root can go, so root's right to pass through directories is kept, and nothing
    # else of root.
    become = ("setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
    passing = ("--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override", "--securebits=+no_setuid_fixup")
    holder, url = await start_holder(home / "data", *become, *passing, HOME=str(home))
    try:
        assert await execute(url, "SELECT 1") == 1
        assert (home / "data" / "postgres").stat().st_uid == nobody.pw_uid
    finally:
        holder.send_signal(signal.SIGTERM)
        await end(holder)
