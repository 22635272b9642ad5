"""A database login and a broker user per service, for one database and virtual host, as `penstock provision` makes
them.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote, urlsplit
from uuid import uuid4

import aiohttp

from penstock.db import Database, open_database
from penstock.db.rights import SERVICES
from penstock.provisioning.settings import ProvisionSettings
from tests.servers import Servers


def with_credentials(url: str, user: str, password: str) -> str:
    """The URL of a server with another user."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{quote(user)}:{quote(password, safe='')}@{place}").geturl()


@asynccontextmanager
async def logins_for(servers: Servers, database_url: str, amqp_url: str) -> AsyncIterator[ProvisionSettings]:
    """Settings with a login and a user for each service, which nobody has made yet; they are dropped at the end."""
    assert servers.management_url is not None, "broker users are made by RabbitMQ's management API; name it"
    mark = uuid4().hex[:12]
    names = {service: f"test {mark} {service}" for service in SERVICES}
    given: dict[str, str] = {"database_url": database_url, "rabbitmq_management_url": servers.management_url}
    for service, name in names.items():
        given[f"{service}_database_url"] = with_credentials(database_url, name, f"p@ss/{uuid4().hex}")
        given[f"{service}_amqp_url"] = with_credentials(amqp_url, name, f"p@ss/{uuid4().hex}")
    try:
        yield ProvisionSettings.model_validate(given)
    finally:
        await _drop(servers, database_url, list(names.values()))


def variables_of(settings: ProvisionSettings) -> Mapping[str, Mapping[str, str]]:
    """What each service has in its environment, by service."""
    return {
        service: {
            "PENSTOCK_DATABASE_URL": settings.database_urls[service],
            "PENSTOCK_AMQP_URL": settings.amqp_urls[service],
        }
        for service in SERVICES
    }


async def _drop(servers: Servers, database_url: str, names: list[str]) -> None:
    database = await open_database(database_url, name="test", most=2)
    await _drop_logins(database, names)
    await database.close()
    async with aiohttp.ClientSession(f"{servers.management_url}/") as http:
        for name in names:
            await (await http.delete(f"api/users/{quote(name)}")).release()


async def _drop_logins(database: Database, names: list[str]) -> None:
    async with database.connection() as conn:
        for name in names:
            for statement in ("DROP OWNED BY %I", "DROP ROLE %I"):
                written = await conn.fetchval(
                    "SELECT format($2::text, rolname) FROM pg_roles WHERE rolname = $1", name, statement
                )
                if written is not None:
                    await conn.execute(written)
