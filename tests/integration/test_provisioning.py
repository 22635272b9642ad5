"""Roles and broker users of the services, on the real servers: what they may do, what they are refused, and that a
later migration does not take their rights away.
"""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import aio_pika
import asyncpg
import pytest
from aiormq.exceptions import AuthenticationError, ChannelAccessRefused, ProbableAuthenticationError

from penstock.broker.inprocess import InProcessBroker
from penstock.contracts.topology import topology
from penstock.db import Database, open_database
from penstock.db.migrations import migrate
from penstock.db.rights import PARTITIONS_ROLE, SERVICES, TABLES, Service, role_of
from penstock.db.roles import make_verifier
from penstock.errors import BrokerUnavailable, ConfigurationError
from penstock.provisioning import provision
from penstock.provisioning.settings import ProvisionSettings
from penstock.runtime import Resources, Stop
from penstock.testing.databases import fresh_database
from penstock_scheduler.loops.retention import delete_aged, drop_old_days
from penstock_scheduler.repository.aging import ByDay, make_partition
from penstock_scheduler.room import furnish
from tests.integration.retention.aging import Keeper, Old
from tests.integration.scheduling import build_settings
from tests.logins import logins_for, with_credentials
from tests.servers import Servers

_RIGHTS_ROLES = [PARTITIONS_ROLE, *map(role_of, SERVICES)]


@dataclass(frozen=True)
class Provided:
    """The settings that a database and a broker were provisioned with, and what services connect with."""

    settings: ProvisionSettings

    def database_url(self, service: Service) -> str:
        return self.settings.database_urls[service]

    def amqp_url(self, service: Service) -> str:
        return self.settings.amqp_urls[service]


@pytest.fixture
async def provided(servers: Servers, database_url: str, amqp_url: str) -> AsyncIterator[Provided]:
    """A database and a virtual host, and the logins and users that are still to be made."""
    async with logins_for(servers, database_url, amqp_url) as settings:
        yield Provided(settings)


@pytest.fixture
async def provisioned(provided: Provided) -> Provided:
    """The same, once everything is made."""
    await provision(provided.settings)
    return provided


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    conn = await asyncpg.connect(url)
    try:
        yield conn
    finally:
        await conn.close()


async def _is_allowed(conn: "asyncpg.Connection[asyncpg.Record]", table: str, verb: str) -> bool:
    found: bool = await conn.fetchval("SELECT has_table_privilege($1, $2)", table, verb)
    return found


async def test_every_table_of_the_newest_migration_has_its_rights_listed(database: Database) -> None:
    async with database.connection() as conn:
        rows = await conn.fetch(
            """
            SELECT relname FROM pg_class
            WHERE relnamespace = 'penstock'::regnamespace AND relkind IN ('r', 'p')
              AND (NOT relispartition OR relname LIKE '%_default')
            """
        )
    assert {row["relname"] for row in rows} == set(TABLES)


@pytest.mark.parametrize(
    ("service", "statement"),
    [
        ("ingress", "CREATE TABLE live.mine ()"),
        ("ingress", "CREATE TABLE penstock.mine ()"),
        ("ingress", "DROP TABLE penstock.runs"),
        ("ingress", "UPDATE penstock.audit SET actor = 'nobody'"),
        ("ingress", "DELETE FROM penstock.runs"),
        (
            "ingress",
            "INSERT INTO penstock.deployments (environment, version, app, checksum) VALUES ('live', 1, '{}', '')",
        ),
        ("ingress", "INSERT INTO penstock.secrets (environment, name, key_id, content) VALUES ('live', 'A', '', '')"),
        ("ingress", "UPDATE penstock.accounts SET password_hash = ''"),
        ("scheduler", "SELECT * FROM penstock.accounts"),
        ("scheduler", "DELETE FROM penstock.audit"),
        ("scheduler", "DROP TABLE penstock.runs"),
        ("scheduler", "CREATE TABLE live.mine ()"),
        ("scheduler", "ALTER TABLE penstock.audit ADD COLUMN more text"),
        ("executor", "DELETE FROM penstock.tokens"),
        ("executor", "SELECT * FROM penstock.inbox"),
        ("executor", "UPDATE penstock.environments SET depth_limit = 1000"),
        ("executor", "SELECT * FROM penstock.audit"),
        ("executor", "CREATE ROLE anybody"),
        ("executor", "CREATE TABLE penstock.mine ()"),
        ("executor", "SELECT pg_read_file('/etc/passwd')"),
    ],
)
async def test_a_service_is_refused_what_is_not_its_own(
    provisioned: Provided, service: Service, statement: str
) -> None:
    async with _connected(provisioned.database_url(service)) as conn:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.execute(statement)


async def test_tables_made_later_come_with_rights_and_lists_of_rights_are_exact(provisioned: Provided) -> None:
    owner, executor = provisioned.settings.database_url, provisioned.database_url("executor")
    async with _connected(owner) as conn:
        await conn.execute("CREATE TABLE live.later (a int); GRANT DELETE ON penstock.runs TO penstock_executor")
        await conn.execute("CREATE TABLE penstock.unlisted (a int)")
    async with _connected(executor) as conn:
        assert await _is_allowed(conn, "live.later", "UPDATE")
        assert await _is_allowed(conn, "penstock.runs", "DELETE")
    database = await open_database(owner, name="test", most=2)
    assert await migrate(database) == []
    await database.close()
    async with _connected(executor) as conn:
        assert await _is_allowed(conn, "penstock.runs", "UPDATE")
        assert not await _is_allowed(conn, "penstock.runs", "DELETE")
        assert not await _is_allowed(conn, "penstock.unlisted", "SELECT")
        assert await _is_allowed(conn, "live.later", "DELETE")


async def test_an_owner_that_is_no_superuser_migrates_before_and_after_and_shares_the_partitions(
    servers: Servers, provided: Provided
) -> None:
    owner = f"test_owner_{uuid4().hex[:12]}"
    password = uuid4().hex
    logins = [urlsplit(url).username or "" for url in provided.settings.database_urls.values()]
    async with _connected(servers.database_url) as admin:
        await admin.execute(f"CREATE ROLE {owner} LOGIN CREATEROLE CREATEDB PASSWORD '{password}'")
        for (role,) in await admin.fetch("SELECT rolname FROM pg_roles WHERE rolname = ANY($1)", _RIGHTS_ROLES):
            await admin.execute(f"GRANT {role} TO {owner} WITH ADMIN OPTION")
    try:
        async with fresh_database(with_credentials(servers.database_url, owner, password)) as url:
            database = await open_database(url, name="test", most=2)
            applied = await migrate(database)
            parts = urlsplit(url)
            given = {"database_url": url} | {
                f"{service}_database_url": urlsplit(login)._replace(path=parts.path).geturl()
                for service, login in provided.settings.database_urls.items()
            }
            await provision(ProvisionSettings.model_validate(given))
            await _use_as_scheduler(given["scheduler_database_url"])
            async with database.connection() as conn:
                await conn.execute("ALTER TABLE penstock.logs ADD COLUMN later text")
                await conn.execute("SELECT count(*) FROM penstock.logs_20300101")
            assert applied
            assert await migrate(database) == []
            async with database.connection() as conn:
                for login in logins:
                    await conn.execute(f'DROP OWNED BY "{unquote(login)}"')
            await database.close()
    finally:
        async with _connected(servers.database_url) as admin:
            await admin.execute(f"REASSIGN OWNED BY {owner} TO CURRENT_USER; DROP OWNED BY {owner}; DROP ROLE {owner}")


async def _use_as_scheduler(url: str) -> None:
    scheduler = await open_database(url, name="test", most=2)
    for day in (date(2030, 1, 1), date(2030, 1, 2)):
        for table in ByDay:
            assert await scheduler.in_transaction(partial(make_partition, table=table, day=day))
    async with scheduler.connection() as conn:
        for table in ByDay:
            await conn.execute(f"DROP TABLE penstock.{table.value}_20300102")
    await _delete_as_scheduler(scheduler)
    await scheduler.close()


async def test_services_number_rows_but_do_not_reset_a_sequence(provisioned: Provided) -> None:
    for service in SERVICES:
        async with _connected(provisioned.database_url(service)) as conn:
            sequences = await conn.fetch(
                "SELECT oid::regclass::text AS name FROM pg_class WHERE relkind = 'S'"
                " AND relnamespace = 'penstock'::regnamespace"
            )
            assert sequences
            for (name,) in sequences:
                assert await conn.fetchval("SELECT nextval($1::text::regclass)", name)
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await conn.fetchval("SELECT setval(pg_get_serial_sequence('penstock.places', 'position'), 1)")


async def _delete_as_scheduler(scheduler: Database) -> None:
    """Let a scheduler delete what is too old, with the rights that it has."""
    room = furnish(build_settings(), Resources(scheduler, InProcessBroker(topology())), Stop())
    keeper = Keeper(scheduler, room)
    await keeper.store(Old(40), Old(40, environment="development"))
    work = partial(make_partition, table=ByDay.LOGS, day=date(2020, 1, 1))
    assert await scheduler.in_transaction(work)
    assert await keeper.tidy() == 2
    assert (await drop_old_days(room)).done["partitions"] == 1
    await delete_aged(room)
    await room.release()


async def test_the_owner_cannot_be_made_a_service(provided: Provided) -> None:
    url = provided.settings.database_url
    given = {
        "database_url": url,
        "executor_database_url": with_credentials(url, urlsplit(url).username or "postgres", "p" * 32),
    }
    with pytest.raises(ConfigurationError, match="owns the database; name another"):
        await provision(ProvisionSettings.model_validate(given))


async def test_a_verifier_is_the_one_that_postgres_would_make(provided: Provided) -> None:
    async with _connected(provided.settings.database_url) as conn, conn.transaction():
        await conn.execute("SET LOCAL password_encryption = 'scram-sha-256'; CREATE ROLE verified PASSWORD 'a b~{}c'")
        stored: str = await conn.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = 'verified'")
        await conn.execute("DROP ROLE verified")
    salt = base64.b64decode(stored.split("$")[1].partition(":")[2])
    assert make_verifier("a b~{}c", salt) == stored


async def _take(_: aio_pika.abc.AbstractIncomingMessage) -> None:
    return


async def _open(url: str) -> aio_pika.abc.AbstractConnection:
    return await aio_pika.connect(url)


@pytest.mark.parametrize(
    ("service", "queue"),
    [("ingress", "penstock.executor"), ("ingress", "penstock.scheduler"), ("ingress", "penstock.dead-letters"),
     ("executor", "penstock.scheduler"), ("executor", "penstock.dead-letters"),
     ("executor", "penstock.ingress.reply." + "0" * 32)],
)  # fmt: skip
async def test_a_broker_user_consumes_no_queue_of_another_service(
    provisioned: Provided, amqp_url: str, service: Service, queue: str
) -> None:
    async with await _open(amqp_url) as administrator, administrator.channel() as channel:
        await channel.declare_queue(queue)
    async with await _open(provisioned.amqp_url(service)) as connection:
        channel = await connection.channel()
        with pytest.raises(ChannelAccessRefused):
            await (await channel.get_queue(queue, ensure=False)).consume(_take)


@pytest.mark.parametrize("service", ["ingress", "executor"])
async def test_only_schedulers_make_or_delete_queues(provisioned: Provided, amqp_url: str, service: Service) -> None:
    async with await _open(amqp_url) as administrator, administrator.channel() as channel:
        await channel.declare_queue("penstock.executor")
    async with await _open(provisioned.amqp_url(service)) as connection:
        with pytest.raises(ChannelAccessRefused):
            await (await connection.channel()).declare_queue("penstock.scheduler")
        with pytest.raises(ChannelAccessRefused):
            await (await connection.channel()).queue_delete("penstock.executor")


async def test_without_the_management_api_broker_users_are_a_clear_error(provided: Provided) -> None:
    settings = provided.settings.model_copy(update={"rabbitmq_management_url": None})
    with pytest.raises(ConfigurationError, match="PENSTOCK_RABBITMQ_MANAGEMENT_URL is needed"):
        await provision(settings)
    unheard = provided.settings.model_copy(update={"rabbitmq_management_url": "http://a:b@127.0.0.1:1"})
    with pytest.raises(BrokerUnavailable, match="management API is out of reach"):
        await provision(unheard)


async def test_a_changed_password_takes_effect_and_the_old_one_is_refused(provisioned: Provided) -> None:
    old = provisioned.amqp_url("ingress")
    name = unquote(urlsplit(old).username or "")
    changed = provisioned.settings.model_copy(update={"ingress_amqp_url": with_credentials(old, name, "q" * 32)})
    await provision(changed)
    async with await _open(changed.amqp_urls["ingress"]):
        with pytest.raises((ProbableAuthenticationError, AuthenticationError)):
            await _open(old)
