"""Servers of a test's own, which it may stop, kill and empty: shared servers are never harmed."""

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from penstock.embedded.binaries import find_binaries
from penstock.embedded.postgres import SETTINGS, USER, PostgresServer
from penstock.errors import ConfigurationError
from penstock.testing.ports import find_port, find_ports
from tests import debian

WAYS = (
    "Ways to provide servers for the tests: start both with Docker (docker compose -f tests/compose.yaml up --wait); "
    "or install them "
    "(Debian: apt-get install postgresql rabbitmq-server); or name running ones in PENSTOCK_TEST_DATABASE_URL and "
    "PENSTOCK_TEST_AMQP_URL "
    "(and PENSTOCK_TEST_RABBITMQ_MANAGEMENT_URL, unless the management plugin listens on its usual port)."
)


class NoServer(Exception):
    """A server the tests need can be neither found nor started; the text names the ways."""


class PrivatePostgres:
    """A PostgreSQL on a TCP port that stays the same across restarts. `is_durable=False` trades crash safety for
    speed.
    """

    def __init__(self, directory: Path, *, is_durable: bool = True) -> None:
        if not _has_postgres():
            raise NoServer(f"No PostgreSQL of at least version 15 is installed. {WAYS}")
        port = find_port()
        self.url = f"postgresql://{USER}@127.0.0.1:{port}/postgres"
        fast = {} if is_durable else {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
        own = {"listen_addresses": "127.0.0.1", "port": str(port), "max_connections": "200", "shared_buffers": "128MB"}
        self._server = PostgresServer(directory, {**SETTINGS, **own, **fast})

    async def start(self) -> None:
        """Start it, and wait until it takes connections."""
        await self._server.start()

    async def stop(self) -> None:
        """A fast shutdown: connections are cut, nothing is lost."""
        await self._server.stop()

    async def kill(self) -> None:
        """SIGKILL. What was committed is there after the next start, if it is durable."""
        await self._server.kill()

    async def restart(self) -> None:
        await self.stop()
        await self.start()


def _has_postgres() -> bool:
    try:
        find_binaries()
    except ConfigurationError:
        return debian.install("postgresql") and _has_postgres_now()
    return True


def _has_postgres_now() -> bool:
    try:
        find_binaries()
    except ConfigurationError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class RabbitMQPrograms:
    """`rabbitmq-server`, `epmd`, and what has to be set so that they run."""

    server: Path
    epmd: str
    environment: Mapping[str, str]


def find_rabbitmq() -> RabbitMQPrograms:
    """The installed programs, else installed ones, else unpacked ones. Raises NoServer."""
    unpacked = Path(sys.prefix) / "servers" / "rabbitmq"
    found = _installed_rabbitmq() or _unpacked_rabbitmq(unpacked)
    if found is None and debian.install("rabbitmq-server"):
        found = _installed_rabbitmq()
    if found is None and debian.unpack(
        "rabbitmq-server", ("erlang", "rabbitmq", "libsctp1", "libsystemd0", "libtinfo6"), unpacked
    ):
        found = _unpacked_rabbitmq(unpacked)
    if found is None:
        raise NoServer(f"No RabbitMQ is installed, and it could not be installed from here. {WAYS}")
    return found


def _installed_rabbitmq() -> RabbitMQPrograms | None:
    # Not the wrappers in /usr/sbin: those change user and directory.
    for pattern in (
        "usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin",
        "usr/lib/rabbitmq/bin",
        "opt/homebrew/opt/rabbitmq/sbin",
    ):
        for directory in sorted(Path("/").glob(pattern), reverse=True):
            epmd = shutil.which("epmd")
            if epmd and (directory / "rabbitmq-server").exists():
                return RabbitMQPrograms(directory / "rabbitmq-server", epmd, {})
    return None


def _unpacked_rabbitmq(directory: Path) -> RabbitMQPrograms | None:
    root = directory / "root"
    servers = sorted(root.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"), reverse=True)
    if not servers or not (directory / "complete").exists():
        return None
    erlang = root / "usr/lib/erlang"
    for script in (erlang / "bin/erl", *erlang.glob("erts-*/bin/erl")):
        script.write_text(script.read_text().replace("ROOTDIR=/usr/lib/erlang\n", f"ROOTDIR={erlang}\n"))
    libraries = {str(library.parent) for library in (*root.glob("lib/**/*.so*"), *root.glob("usr/lib/*-linux-*/*.so*"))}
    environment = {
        "PATH": f"{erlang / 'bin'}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        "LD_LIBRARY_PATH": ":".join(sorted(libraries)),
    }
    (epmd, *_) = (*erlang.glob("erts-*/bin/epmd"), erlang / "bin/epmd")
    return RabbitMQPrograms(servers[0], str(epmd), environment)


class PrivateRabbitMQ:
    """A RabbitMQ node on ports that stay the same across restarts; nothing outside `directory` is read or written."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._programs = find_rabbitmq()
        self._amqp_port, self._management_port, self._distribution_port, self._epmd_port = find_ports(4)
        self.url = f"amqp://penstock:penstock@127.0.0.1:{self._amqp_port}/"
        self.management_url = f"http://penstock:penstock@127.0.0.1:{self._management_port}"
        self._node: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start the node, and wait until it takes connections."""
        self._configure()
        environment = {**os.environ, **self._programs.environment, **self._environment()}
        environment.pop("NOTIFY_SOCKET", None)
        if self._epmd is None:
            # Erlang would start it as a daemon that outlives the node; this one is ours to end.
            self._epmd = self._spawn(
                (self._programs.epmd, "-port", str(self._epmd_port), "-address", "127.0.0.1"), environment
            )
        self._node = self._spawn((str(self._programs.server),), environment)
        try:
            async with asyncio.timeout(90):
                while not await self._is_ready():
                    if self._node.poll() is not None:
                        raise NoServer(f"RabbitMQ did not start: {self._log_tail()}")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            await self.stop()
            raise NoServer(f"RabbitMQ was not ready within 90 s: {self._log_tail()}") from None

    async def stop(self) -> None:
        """An orderly shutdown, of the node and of what belongs to it."""
        if self._node is not None and self._node.poll() is None:
            self._node.send_signal(signal.SIGTERM)
            await _end(self._node, 30)
        await self.kill()
        if self._epmd is not None:
            self._epmd.terminate()
            await _end(self._epmd, 5)
            self._epmd = None

    async def kill(self) -> None:
        """SIGKILL to the node; queues and confirmed messages are there after the next `start`."""
        if self._node is not None:
            if self._node.poll() is None:
                os.killpg(self._node.pid, signal.SIGKILL)
            await _end(self._node, 5)
            self._node = None

    def freeze(self) -> None:
        """SIGSTOP to the node: connections stay open, and nothing answers until `thaw`."""
        assert self._node is not None
        os.killpg(self._node.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen node continue."""
        assert self._node is not None
        os.killpg(self._node.pid, signal.SIGCONT)

    async def restart(self) -> None:
        """Stop in order and start again, with everything in it."""
        await self.stop()
        await self.start()

    async def wipe(self) -> None:
        """Kill, forget every queue and message, and start again."""
        await self.kill()
        shutil.rmtree(self._directory / "mnesia", ignore_errors=True)
        await self.start()

    def _spawn(self, command: tuple[str, ...], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        dying = (
            ("setpriv", "--pdeathsig=KILL") if shutil.which("setpriv") else ()
        )  # ends with the test run, however that ends
        with (self._directory / "output").open("ab") as output:
            return subprocess.Popen(
                (*dying, *command),
                cwd=self._directory,  # where a crash leaves its dump
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _configure(self) -> None:
        for name in ("mnesia", "log", "schema", "generated"):
            (self._directory / name).mkdir(parents=True, exist_ok=True)
        cookie = self._directory / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(0o600)
            cookie.write_text(secrets.token_hex(16))
            cookie.chmod(0o400)
        (self._directory / "environment").touch()
        # A bare container may not know localhost.
        (self._directory / "hosts").write_text('{host, {127,0,0,1}, ["localhost"]}.\n{lookup, [file, native]}.\n')
        (self._directory / "plugins").write_text("[rabbitmq_management].\n")
        settings = {
            "listeners.tcp.1": f"127.0.0.1:{self._amqp_port}",
            "management.tcp.ip": "127.0.0.1",
            "management.tcp.port": self._management_port,
            "default_user": "penstock",
            "default_pass": "penstock",
            "disk_free_limit.absolute": "64MB",
            "raft.wal_max_size_bytes": 64 * 1024 * 1024,
            "log.console": "false",
            "log.file.level": "info",
        }
        (self._directory / "rabbitmq.conf").write_text(
            "".join(f"{name} = {value}\n" for name, value in settings.items())
        )

    def _environment(self) -> dict[str, str]:
        own = self._directory
        return {
            "HOME": str(own),  # holds the cookie
            "RABBITMQ_NODENAME": f"penstock{self._amqp_port}@localhost",  # no look-up of this machine's name
            "RABBITMQ_CONF_ENV_FILE": str(own / "environment"),
            "RABBITMQ_CONFIG_FILE": str(own / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(own / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(own / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(own / "mnesia"),
            "RABBITMQ_LOG_BASE": str(own / "log"),
            "RABBITMQ_SCHEMA_DIR": str(own / "schema"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(own / "generated"),
            "RABBITMQ_PLUGINS_EXPAND_DIR": str(own / "mnesia" / "plugins"),
            "RABBITMQ_PID_FILE": str(own / "node.pid"),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._amqp_port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "ERL_INETRC": str(own / "hosts"),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # Two schedulers that do not spin: the machine has other things to do.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
            ),
            "RUNNING_UNDER_SYSTEMD": "true",  # makes the script exec the node: our child is the broker
        }

    async def _is_ready(self) -> bool:
        url = f"{self.management_url}/api/health/checks/port-listener/{self._amqp_port}"
        try:
            async with (
                aiohttp.ClientSession() as http,
                http.get(url, timeout=aiohttp.ClientTimeout(total=2)) as response,
            ):
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    def _log_tail(self) -> str:
        logs = [self._directory / "output", *(self._directory / "log").glob("penstock*.log")]
        return "\n".join(line for log in logs for line in log.read_text(errors="replace").splitlines()[-15:])


async def _end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for the process; kill it when it takes longer."""
    deadline = asyncio.get_running_loop().time() + seconds
    while process.poll() is None:
        if asyncio.get_running_loop().time() > deadline:
            process.kill()
        await asyncio.sleep(0.02)
