"""Hosts on one machine: network namespaces joined by a bridge, each with an address and ports of its own.

What runs on such a host reaches the machine's servers, which listen on the loopback address, through relays on the
bridge, and nothing else. Making namespaces takes root and the program `ip`; where it cannot be done, the one host is
the machine itself, and the log says so.
"""

import asyncio
import logging
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

_LOG = logging.getLogger("tests.servers")
_NAMES: Final = re.compile(r"pstest(\d+)(?:-\d+)?")
"""Of namespaces and bridges: they name the process that made them, so that another can remove what is left of it."""
_PORTS: Final = {"amqp": 5672, "http": 80, "postgresql": 5432}
_PROBE: Final = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 10).close()"
_CHUNK: Final = 65_536
_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Host:
    """A place for processes: `prefix` is what a command there begins with."""

    address: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()


LOOPBACK: Final = Host()


@dataclass(slots=True)
class Network:
    """Some hosts, and the way from them to servers of this machine. Without a `gateway` they are this machine."""

    hosts: tuple[Host, ...] = (LOOPBACK,)
    gateway: str = ""
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _relays: dict[tuple[str, int], int] = field(default_factory=dict)

    async def reach(self, url: str) -> str:
        """The URL under which the hosts reach the server that this machine reaches at `url`."""
        if not self.gateway:
            return url
        parts = urlsplit(url)
        target = (parts.hostname or "127.0.0.1", parts.port or _PORTS[parts.scheme])
        if target not in self._relays:
            self._relays[target] = await self._stack.enter_async_context(_relaying(self.gateway, *target))
        credentials, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{credentials}{at}{self.gateway}:{self._relays[target]}").geturl()


class _Impossible(Exception):
    """No namespaces can be made here, or they are of no use; the text says why."""


@asynccontextmanager
async def open_network(count: int) -> AsyncIterator[Network]:
    """A network of `count` hosts; or of this machine alone, where namespaces cannot be made. The log says which."""
    name = f"pstest{os.getpid()}"
    async with AsyncExitStack() as stack:
        network = Network()
        stack.push_async_callback(_remove, name)
        try:
            network = await _join(name, count)
            stack.push_async_callback(network._stack.aclose)
            await _check(network)
            _LOG.info(f"the hosts are {count} network namespaces, {name}-0 to {name}-{count - 1}, joined by a bridge")
        except _Impossible as reason:
            network = Network()
            _LOG.info(f"the hosts are this machine's loopback address, since {reason}")
        yield network


async def _join(name: str, count: int) -> Network:
    """Make a bridge, and namespaces that hang on it. Raises _Impossible."""
    if os.geteuid() != 0:
        raise _Impossible("only root may make network namespaces")
    if shutil.which("ip") is None:
        raise _Impossible("the program `ip` is not installed")
    await _remove_stale()
    await _ip("link", "add", name, "type", "bridge")
    first, second = divmod(os.getpid() % 8192 * 16, 65_536)
    block = f"198.{18 + first}.{second // 256}"  # RFC 2544's, for tests: 198.18.0.0/15, in pieces of 16 addresses
    gateway = f"{block}.{second % 256 + 1}"
    await _ip("address", "add", f"{gateway}/28", "dev", name)
    await _ip("link", "set", name, "up")
    hosts = [
        await _make_host(f"{name}-{index}", bridge=name, address=f"{block}.{second % 256 + 2 + index}")
        for index in range(count)
    ]
    return Network(tuple(hosts), gateway)


async def _make_host(name: str, *, bridge: str, address: str) -> Host:
    await _ip("netns", "add", name)
    await _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
    await _ip("link", "set", name, "master", bridge, "up")
    await _ip("-n", name, "link", "set", "lo", "up")
    await _ip("-n", name, "address", "add", f"{address}/28", "dev", "eth0")
    await _ip("-n", name, "link", "set", "eth0", "up")
    return Host(address, ("ip", "netns", "exec", name))


async def _check(network: Network) -> None:
    """Let each host connect to this machine, which a firewall may forbid. Raises _Impossible."""
    async with AsyncExitStack() as stack:
        server = await asyncio.start_server(lambda _, writer: writer.close(), network.gateway, 0)
        stack.callback(server.close)
        port = server.sockets[0].getsockname()[1]
        for host in network.hosts:
            await _run(*host.prefix, sys.executable, "-I", "-S", "-c", _PROBE, network.gateway, str(port))


async def _remove(name: str) -> None:
    """Remove the bridge of that name and its namespaces, as far as they exist."""
    for namespace in _namespaces():
        if namespace.startswith(f"{name}-"):
            with suppress(_Impossible):
                await _ip("netns", "delete", namespace)
    for link in _links():  # with a namespace its link goes too, a moment later
        if link == name or link.startswith(f"{name}-"):
            with suppress(_Impossible):
                await _ip("link", "delete", link)


async def _remove_stale() -> None:
    """Remove what processes have left that were killed."""
    for name in (*_namespaces(), *_links()):
        found = _NAMES.fullmatch(name)
        if found is not None and not Path("/proc", found[1]).exists():
            await _remove(f"pstest{found[1]}")


def _namespaces() -> list[str]:
    directory = Path("/run/netns")
    return [path.name for path in directory.iterdir()] if directory.is_dir() else []


def _links() -> list[str]:
    return [path.name for path in Path("/sys/class/net").iterdir()]


async def _ip(*arguments: str) -> None:
    await _run("ip", *arguments)


async def _run(*command: str) -> None:
    """Run a program. Raises _Impossible with what it says."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), _SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise _Impossible(f"`{' '.join(command[:6])}` has not ended within {_SECONDS} s") from None
    if process.returncode != 0:
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise _Impossible(f"`{' '.join(command[:6])}` failed: {last}")


@asynccontextmanager
async def _relaying(gateway: str, host: str, port: int) -> AsyncIterator[int]:
    """The port on `gateway` behind which the server at `host` and `port` is."""
    tasks = set[asyncio.Task[None]]()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        try:
            onward_reader, onward_writer = await asyncio.open_connection(host, port)
            await asyncio.gather(_copy(reader, onward_writer), _copy(onward_reader, writer))
        except OSError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(relay, gateway, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Until one of both ends; then the other end learns it."""
    try:
        while chunk := await source.read(_CHUNK):
            target.write(chunk)
            await target.drain()
    except OSError:
        return
    finally:
        target.close()
