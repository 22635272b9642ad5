"""Servers, databases and virtual hosts for every test.

With xdist the servers are looked for or started once, by the process that leads the workers, and stopped by it.
Without, they start when the first test asks for them.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, nullcontext
from dataclasses import asdict
from typing import Any, Protocol

import hypothesis
import pytest

from penstock.errors import ConfigurationError
from penstock.testing.databases import fresh_database, install_clock_at
from tests.debian import fold
from tests.private_servers import NoServer, PrivatePostgres, PrivateRabbitMQ
from tests.servers import Servers, fresh_vhost, migrated_template, provide_servers, running_postgres, running_rabbitmq

# Services are started by the hundred: where bytecode is not kept, each start compiles all that it imports, for seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# No deadline per example: how long one takes says how busy the machine is.
# The same code gives the same answer twice. `--hypothesis-profile=random` looks for what nobody has found yet.
hypothesis.settings.register_profile("house", deadline=None, derandomize=True)
hypothesis.settings.register_profile("random", deadline=None)
hypothesis.settings.load_profile("house")

_RUNNER = pytest.StashKey[asyncio.Runner]()
_STACK = pytest.StashKey[AsyncExitStack]()
_SERVERS = pytest.StashKey[Servers]()


class WorkerNode(Protocol):
    """What xdist hands over for each worker."""

    config: pytest.Config
    workerinput: dict[str, Any]


class _Announcing(logging.Handler):
    """Says at once what is found, started or installed for the tests: pytest shows only what failed tests print."""

    def __init__(self, config: pytest.Config) -> None:
        super().__init__()
        self._capturing = config.pluginmanager.getplugin("capturemanager")

    def emit(self, record: logging.LogRecord) -> None:
        with nullcontext() if self._capturing is None else self._capturing.global_and_fixture_disabled():
            sys.stderr.write(fold("tests", record.getMessage()))


def pytest_configure(config: pytest.Config) -> None:
    # In the background of a script interrupts are ignored, also by what is started here; some tests send them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = logging.getLogger("tests.servers")
    log.setLevel(logging.INFO)
    log.addHandler(_Announcing(config))


def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    leads_workers = bool(getattr(config.option, "numprocesses", None)) and not hasattr(config, "workerinput")
    is_without_servers = all(str(argument).startswith("tests/unit") for argument in config.args)
    if not leads_workers or is_without_servers or config.option.collectonly:
        return
    # One loop for start and stop: the end of a loop would end the context that keeps the servers.
    config.stash[_RUNNER] = runner = asyncio.Runner()
    config.stash[_STACK] = stack = AsyncExitStack()
    try:
        config.stash[_SERVERS] = runner.run(stack.enter_async_context(provide_servers()))
    except (NoServer, ConfigurationError) as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerNode) -> None:
    if _SERVERS in node.config.stash:
        node.workerinput["servers"] = asdict(node.config.stash[_SERVERS])


def pytest_unconfigure(config: pytest.Config) -> None:
    runner = config.stash.get(_RUNNER, None)
    if runner is not None:
        runner.run(config.stash[_STACK].aclose())
        runner.close()


@pytest.fixture(scope="session")
async def servers(request: pytest.FixtureRequest) -> AsyncIterator[Servers]:
    """The shared servers. Not to be stopped; for that, see `private_postgres` and `private_rabbitmq`."""
    given = getattr(request.config, "workerinput", {}).get("servers")
    if given is not None:
        yield Servers(**given)
        return
    async with provide_servers() as found:
        yield found


@pytest.fixture(scope="session")
async def database_template(servers: Servers) -> AsyncIterator[str]:
    """The name of an up-to-date database to copy, one per worker."""
    async with migrated_template(servers.database_url) as name:
        yield name


@pytest.fixture
async def database_url(servers: Servers, database_template: str) -> AsyncIterator[str]:
    """The URL of an up-to-date, empty database of the test's own."""
    async with fresh_database(servers.database_url, template=database_template) as url:
        yield url


@pytest.fixture(scope="session")
async def movable_template(servers: Servers) -> AsyncIterator[str]:
    """As `database_template`, with the clock of `penstock.testing.time`."""
    async with migrated_template(servers.database_url, is_movable=True) as name:
        yield name


@pytest.fixture
async def movable_database_url(servers: Servers, movable_template: str) -> AsyncIterator[str]:
    """As `database_url`, but the test may move this database's time: `penstock.testing.time.advance`."""
    async with fresh_database(servers.database_url, template=movable_template) as url:
        await install_clock_at(url)
        yield url


@pytest.fixture
async def amqp_url(servers: Servers) -> AsyncIterator[str]:
    """The URL of an empty virtual host of the test's own."""
    async with fresh_vhost(servers) as url:
        yield url


@pytest.fixture
async def private_postgres() -> AsyncIterator[PrivatePostgres]:
    """A running PostgreSQL that the test may stop, kill and restart. Its databases are to be made and migrated by the
    test.
    """
    async with running_postgres() as server:
        yield server


@pytest.fixture
async def private_rabbitmq() -> AsyncIterator[PrivateRabbitMQ]:
    """A running RabbitMQ node that the test may stop, kill, restart and empty."""
    async with running_rabbitmq() as node:
        yield node
