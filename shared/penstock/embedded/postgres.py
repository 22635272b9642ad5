"""A PostgreSQL of our own, started as a child process on a Unix socket, for `penstock up`.

It ends with us: by SIGINT when we leave in order, and by the kernel's signal on its parent's death when we are killed.
Whatever a kill leaves behind (a lock file, a socket, a half-made cluster) is cleared at the next start, and the data
recovers from its log.
"""

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

from penstock.embedded.binaries import Binaries, Identity, choose_identity, find_binaries
from penstock.embedded.disk import sync_file_system
from penstock.embedded.postmaster import accepts_connections, find_postmaster
from penstock.errors import ConfigurationError
from penstock.logs import get_logger

log = get_logger(__name__)
USER: Final = "app"
_SOCKET_PATH_LIMIT: Final = 107  # bytes, of sockaddr_un
_READY_SECONDS: Final = 60.0
_LEFTOVER_SECONDS: Final = 10.0
# How to end it: ask for a fast shutdown (clients are disconnected), insist on an immediate one (recovery at the next
# start), kill.
_ENDINGS: Final = ((signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))

SETTINGS: Final[Mapping[str, str]] = {
    "autovacuum_max_workers": "1",
    "jit": "off",  # costs more than it saves on statements as short as ours
    "listen_addresses": "",
    "log_timezone": "UTC",
    "maintenance_work_mem": "32MB",
    "max_connections": "50",
    "max_logical_replication_workers": "0",
    "max_parallel_workers": "0",  # parallel workers need shared memory of which containers have little
    "max_wal_size": "256MB",
    "port": "5432",
    "shared_buffers": "32MB",
    "timezone": "UTC",
    "unix_socket_permissions": "0700",
}
"""Small, so that all of Penstock idles under 200 MB; nothing that trades durability for speed."""
_SETTINGS_ON_LINUX: Final = {"recovery_init_sync_method": "syncfs"}
"""After a crash the cluster is brought to the disk at once. File by file, as by default, it takes a thousand times as
long as one write to the disk, which on a busy machine is minutes.
"""
_SETTINGS_SINCE_18: Final = {"io_method": "sync"}  # no I/O worker processes


class PostgresServer:
    """A cluster in `data_dir`/postgres and the server process on it. Start it from the main thread: the server ends
    with that.
    """

    def __init__(self, data_dir: Path, settings: Mapping[str, str] = SETTINGS) -> None:
        self._directory = data_dir.absolute()
        self._cluster = self._directory / "postgres"
        self._log_path = self._directory / "postgres.log"
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._held: IO[bytes] | None = None
        self._socket_directory: Path | None = None

    @property
    def url(self) -> str:
        """The URL of the database `postgres`, over the Unix socket. Valid between `start` and `stop`."""
        assert self._socket_directory is not None, "started"
        directory, port = quote(str(self._socket_directory), safe=""), self._settings["port"]
        return f"postgresql://{USER}@/postgres?host={directory}&port={port}"

    @property
    def _socket_name(self) -> str:
        return f".s.PGSQL.{self._settings['port']}"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Make the cluster if there is none, start the server and wait until it takes connections.

        Raises ConfigurationError when the directory is in use, belongs to somebody else or to another version, when
        there is no PostgreSQL here, or when it does not come up (with the end of its log).
        """
        self._hold_directory()
        try:
            await self._await_leftover()
            binaries = find_binaries(self._read_major())
            identity = choose_identity(binaries.directory, self._directory)
            await self._prepare_cluster(binaries, identity)
            await self._launch(binaries, identity)
        except BaseException:
            await self.stop()
            raise

    async def stop(self, *, at_once: bool = False) -> None:
        """End the server, the harder the longer it takes, and give the directory free. Harmless when it does not run.

        `at_once` spares the orderly shutdown: what is stored stays, the next start recovers it.
        """
        for number, seconds in _ENDINGS[at_once:]:
            if not self.is_running:
                break
            self._signal(number)
            await self._wait_for_end(seconds)
        self._process = None
        if self._socket_directory is not None:
            shutil.rmtree(self._socket_directory, ignore_errors=True)
        if self._held is not None:
            self._held.close()
            self._held = None

    async def kill(self) -> None:
        """SIGKILL, as a crash would have it. What is stored stays; `start` recovers it."""
        self._signal(signal.SIGKILL)
        await self._wait_for_end(5.0)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    async def _wait_for_end(self, seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while self.is_running and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)

    def _hold_directory(self) -> None:
        if self._held is not None:
            return
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            held = (self._directory / "postgres.lock").open("ab")
        except OSError as error:
            raise ConfigurationError(
                f"cannot write to {self._directory}: {error.strerror}; choose another with --data"
            ) from error
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # goes with the process, however it ends
        except BlockingIOError:
            held.close()
            raise ConfigurationError(
                f"{self._directory} is in use by another `penstock up`; stop that one, or give this one a directory "
                "with --data"
            ) from None
        self._held = held

    async def _await_leftover(self) -> None:
        """Let a server whose parent was killed finish its shutdown, and clear what a killed server left."""
        deadline = asyncio.get_running_loop().time() + _LEFTOVER_SECONDS
        while (running := find_postmaster(self._cluster)) is not None:
            if asyncio.get_running_loop().time() > deadline:
                raise ConfigurationError(
                    f"a PostgreSQL that was not started by this process (process {running}) uses {self._cluster}; "
                    f"stop it (kill -INT {running}) and start again"
                )
            await asyncio.sleep(0.05)
        # PostgreSQL takes a lock file for valid when any process has the number in it, as happens after a container's
        # restart.
        lock_file = self._cluster / "postmaster.pid"
        try:
            left = Path(lock_file.read_text().splitlines()[4])
            lock_file.unlink()
        except (FileNotFoundError, IndexError):
            return
        if left == self._directory / "socket" or (left.parent == Path("/tmp") and left.name.startswith("penstock-")):
            shutil.rmtree(left, ignore_errors=True)

    def _read_major(self) -> int | None:
        try:
            version = (self._cluster / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._not_ours() from error
        try:
            return find_binaries(int(version)).major
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{self._cluster} holds data of PostgreSQL {version}, which only that version can read. {error}; "
                "or start on an empty directory with --data and move the data with pg_dump"
            ) from error

    def _not_ours(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self._cluster} belongs to another user; run as that one, or change its owner (chown -R), or choose "
            "another with --data"
        )

    async def _prepare_cluster(self, binaries: Binaries, identity: Identity) -> None:
        if not self._cluster.exists():
            fresh = self._cluster.with_name("postgres.new")
            shutil.rmtree(fresh, ignore_errors=True)  # of an initdb that was killed
            self._own(fresh, identity)
            await self._initialise(fresh, binaries, identity)
            fresh.rename(self._cluster)
        elif (owner := self._cluster.stat().st_uid) != identity.user_id:
            if os.geteuid() != 0:
                raise self._not_ours()
            log.info("postgres.owner_changed", directory=str(self._cluster), before=owner, after=identity.user_id)
            for path in (self._cluster, *self._cluster.rglob("*")):
                os.chown(path, identity.user_id, -1, follow_symlinks=False)

    def _own(self, directory: Path, identity: Identity) -> None:
        directory.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(directory, identity.user_id, -1)

    async def _initialise(self, directory: Path, binaries: Binaries, identity: Identity) -> None:
        options = ("-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions", "--no-sync")
        command = (*identity.prefix, str(binaries.directory / "initdb"), "-D", str(directory), *options)
        # A session of its own: Ctrl-C is for us, and what it has begun is ended by us.
        making = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_environment(), start_new_session=True
        )
        try:
            output, _ = await making.communicate()
        finally:
            if making.returncode is None:
                os.killpg(making.pid, signal.SIGKILL)
                await making.wait()
        if making.returncode != 0:
            raise ConfigurationError(
                f"PostgreSQL could not make {directory}: {output.decode(errors='replace').strip()}"
            )
        await asyncio.to_thread(sync_file_system, directory)

    def _make_socket_directory(self, identity: Identity) -> Path:
        """Empty, and at the same place for as long as this object lives, so that the URL stays true after a crash."""
        if self._socket_directory is None:
            self._socket_directory = self._directory / "socket"
            path = os.fsencode(self._socket_directory / self._socket_name)
            if len(path) > _SOCKET_PATH_LIMIT or b"," in path:  # a comma would separate hosts in the URL
                self._socket_directory = Path(tempfile.mkdtemp(prefix="penstock-", dir="/tmp"))
        shutil.rmtree(self._socket_directory, ignore_errors=True)
        self._own(self._socket_directory, identity)
        return self._socket_directory

    async def _launch(self, binaries: Binaries, identity: Identity) -> None:
        sockets = self._make_socket_directory(identity)
        settings = {
            **(_SETTINGS_SINCE_18 if binaries.major >= 18 else {}),
            **(_SETTINGS_ON_LINUX if sys.platform == "linux" else {}),
            **self._settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = (str(binaries.directory / "postgres"), "-D", str(self._cluster), "-k", str(sockets), *options)
        deadline = asyncio.get_running_loop().time() + _READY_SECONDS
        while True:
            self._spawn(identity, command)
            if await self._becomes_ready(sockets / self._socket_name, deadline):
                return
            # The processes of a killed server hold its shared memory until they notice, and so long a new one refuses
            # to start.
            if self.is_running or "pre-existing shared memory block" not in self._log_tail():
                raise ConfigurationError(
                    f"PostgreSQL did not start on {self._cluster}. Its log ends with:\n{self._log_tail()}"
                )
            await asyncio.sleep(0.2)

    def _spawn(self, identity: Identity, command: tuple[str, ...]) -> None:
        with self._log_path.open("wb") as output:
            self._process = subprocess.Popen(
                (*identity.prefix, *command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for us; the server is stopped when its clients are done
            )

    async def _becomes_ready(self, socket_path: Path, deadline: float) -> bool:
        while self.is_running and asyncio.get_running_loop().time() < deadline:
            if await accepts_connections(socket_path, USER):
                return True
            await asyncio.sleep(0.02)
        return False

    def _log_tail(self) -> str:
        return "\n".join(self._log_path.read_text(errors="replace").splitlines()[-10:])


def _environment() -> dict[str, str]:
    # PGDATA, PGPORT, PGOPTIONS and their like are meant for somebody's other server.
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


@asynccontextmanager
async def embedded_postgres(data_dir: Path) -> AsyncIterator[str]:
    """A running PostgreSQL with its data under `data_dir`; the value is the URL of its database. Restarted when it
    crashes.

    Raises ConfigurationError as `PostgresServer.start` does.
    """
    server = PostgresServer(data_dir)
    await server.start()
    keeper = asyncio.create_task(_keep_running(server), name="embedded postgres")
    try:
        yield server.url
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        await server.stop()


async def _keep_running(server: PostgresServer) -> None:
    while True:
        await asyncio.sleep(0.2)
        if server.is_running:
            continue
        log.error("postgres.crashed")
        try:
            await server.start()
        except ConfigurationError as error:
            log.error("postgres.failed", error=str(error))
            await asyncio.sleep(2)
