"""A real PostgreSQL and a real RabbitMQ for the tests: named by the environment, found on this machine, or started for
the run.

Looked for in this order: PENSTOCK_TEST_DATABASE_URL and PENSTOCK_TEST_AMQP_URL; servers on the default local ports that
let us in; private ones from installed programs, which are installed or unpacked first where that is possible. A missing
server is an error.
"""

import asyncio
import fcntl
import hashlib
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from urllib.parse import quote, urlsplit
from uuid import uuid4

import aio_pika
import aiohttp
import asyncpg

from penstock.contracts.topology import topology
from penstock.testing.databases import drop_database, make_template
from tests.private_servers import NoServer, PrivatePostgres, PrivateRabbitMQ

OLDEST_POSTGRES = 150000

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the shared servers are. Tests make databases and virtual hosts in them, and never stop them.

    `management_url` carries the credentials; it is None when the AMQP server was given without its management API.
    """

    database_url: str
    amqp_url: str
    management_url: str | None


@asynccontextmanager
async def provide_servers() -> AsyncIterator[Servers]:
    """The servers, for as long as the context lasts; those started here are stopped at its end. Raises NoServer."""
    async with AsyncExitStack() as stack:
        database_url = os.environ.get("PENSTOCK_TEST_DATABASE_URL") or await _find_postgres()
        if database_url:
            _LOG.info(f"PostgreSQL is the one at {_place(database_url)}")
        else:
            with _timed("a PostgreSQL"):
                database_url = (await stack.enter_async_context(running_postgres(is_durable=False))).url
        amqp_url = os.environ.get("PENSTOCK_TEST_AMQP_URL")
        management_url = os.environ.get("PENSTOCK_TEST_RABBITMQ_MANAGEMENT_URL")
        if amqp_url:
            management_url = await _first_management(amqp_url, management_url)
        else:
            amqp_url = "amqp://guest:guest@127.0.0.1:5672/"
            management_url = await _first_management(amqp_url, None)
            if management_url is None:  # without it tests could not be kept apart
                with _timed("a RabbitMQ node"):
                    node = await stack.enter_async_context(running_rabbitmq())
                amqp_url, management_url = node.url, node.management_url
        _LOG.info(f"RabbitMQ is the one at {_place(amqp_url)}")
        yield Servers(database_url, amqp_url, management_url)


@contextmanager
def _timed(what: str) -> Iterator[None]:
    begin = monotonic()
    _LOG.info(f"starting {what} for the tests, in a temporary directory")
    yield
    _LOG.info(f"{what} is ready after {monotonic() - begin:.1f} s")


def _place(url: str) -> str:
    """Where a server is, without its credentials."""
    return urlsplit(url).netloc.rpartition("@")[2]


@asynccontextmanager
async def running_postgres(*, is_durable: bool = True) -> AsyncIterator[PrivatePostgres]:
    """A started PostgreSQL of one's own; stopped and removed at the end."""
    with tempfile.TemporaryDirectory(prefix="penstock-tests-", ignore_cleanup_errors=True) as directory:
        server = PrivatePostgres(Path(directory), is_durable=is_durable)
        try:
            await server.start()
            yield server
        finally:
            await server.stop()


@asynccontextmanager
async def running_rabbitmq() -> AsyncIterator[PrivateRabbitMQ]:
    """A started RabbitMQ node of one's own; stopped and removed at the end."""
    with tempfile.TemporaryDirectory(prefix="penstock-tests-", ignore_cleanup_errors=True) as directory:
        node = PrivateRabbitMQ(Path(directory))
        try:
            await node.start()
            yield node
        finally:
            await node.kill()  # nobody needs what is in it, and an orderly shutdown takes seconds
            await node.stop()


async def _find_postgres() -> str | None:
    for login in ("postgres", "postgres:postgres", os.environ.get("USER", "postgres")):
        url = f"postgresql://{login}@127.0.0.1:5432/postgres"
        try:
            connection = await asyncpg.connect(url, timeout=3)
        except ConnectionRefusedError:
            return None
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            continue
        try:
            version = await connection.fetchval("SELECT current_setting('server_version_num')::int")
            may_create = await connection.fetchval(
                "SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user"
            )
        finally:
            await connection.close()
        if may_create and version >= OLDEST_POSTGRES:
            return url
    return None


async def _first_management(amqp_url: str, given: str | None) -> str | None:
    """The management API that belongs to `amqp_url`, if our login administers it."""
    parts = urlsplit(amqp_url)
    credentials = f"{parts.username or 'guest'}:{parts.password or 'guest'}"
    by_convention = f"http://{credentials}@{parts.hostname}:{(parts.port or 5672) + 10_000}"
    for url in (given, by_convention):
        if url is None:
            continue
        try:
            async with (
                aiohttp.ClientSession() as http,
                http.get(f"{url}/api/vhosts", timeout=aiohttp.ClientTimeout(total=3)) as response,
            ):
                if response.status == 200:
                    return url
        except (aiohttp.ClientError, TimeoutError, ValueError):
            continue
    if given is not None:
        raise NoServer(
            f"PENSTOCK_TEST_RABBITMQ_MANAGEMENT_URL: no management API answers at {given}, or it refuses the login"
        )
    return None


@asynccontextmanager
async def migrated_template(server_url: str, *, is_movable: bool = False) -> AsyncIterator[str]:
    """The name of a database that is up to date and that nobody is connected to: a template for `fresh_database`.

    In one that `is_movable` time can be moved; so it can in a copy, once the clock is installed there again.
    """
    name = await make_template(server_url, is_movable=is_movable)
    try:
        yield name
    finally:
        await drop_database(server_url, name)


@asynccontextmanager
async def fresh_vhost(servers: Servers) -> AsyncIterator[str]:
    """The URL of an empty virtual host. Without a management API, the one given, emptied, and to oneself until the
    end.
    """
    if servers.management_url is None:
        async with _emptied_vhost(servers.amqp_url) as url:
            yield url
        return
    name = f"penstock-test-{uuid4().hex}"
    user = urlsplit(servers.amqp_url).username or "guest"
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    async with aiohttp.ClientSession(f"{servers.management_url}/", raise_for_status=True) as http:
        await (await http.put(f"api/vhosts/{name}", json={})).release()
        try:
            await (await http.put(f"api/permissions/{name}/{quote(user, safe='')}", json=everything)).release()
            yield urlsplit(servers.amqp_url)._replace(path=f"/{name}").geturl()
        finally:
            await (await http.delete(f"api/vhosts/{name}")).release()


@asynccontextmanager
async def _emptied_vhost(url: str) -> AsyncIterator[str]:
    lock_name = f"penstock-tests-{os.geteuid()}-{hashlib.sha256(url.encode()).hexdigest()[:16]}.lock"
    with (Path(tempfile.gettempdir()) / lock_name).open("ab") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        connection = await aio_pika.connect(url)
        async with connection, connection.channel() as channel:
            for queue in topology().queues:
                await channel.queue_delete(queue.name)
            for exchange in topology().exchanges:
                await channel.exchange_delete(exchange.name)
        yield url
