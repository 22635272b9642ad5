"""Installations for the stories: on the shared servers, or on private ones that a test may stop, kill and empty."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from penstock.db import open_database
from penstock.provisioning import provision
from tests.acceptance.installation import Installation, Service
from tests.logins import logins_for, variables_of
from tests.private_servers import PrivatePostgres, PrivateRabbitMQ
from tests.servers import Servers


@pytest.fixture
async def installation(
    servers: Servers, database_url: str, amqp_url: str, tmp_path: Path
) -> AsyncIterator[Installation]:
    """A prepared installation without services, on the test's own database and vhost; each service has its own login
    and no more rights than it needs.
    """
    database = await open_database(database_url, name="acceptance", most=4)
    async with (
        logins_for(servers, database_url, amqp_url) as logins,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
    ):
        whole = Installation(database_url, amqp_url, database, tmp_path, http, logins=variables_of(logins))
        await provision(logins)
        try:
            await whole.prepare()
            yield whole
        finally:
            await whole.close()
            await database.close()


@pytest.fixture
async def services(installation: Installation) -> tuple[Service, Service, Service]:
    """One ingress, one scheduler and one executor of `installation`, ready."""
    return await installation.start_all()


@pytest.fixture
async def outage(
    private_postgres: PrivatePostgres, private_rabbitmq: PrivateRabbitMQ, tmp_path: Path
) -> AsyncIterator[Installation]:
    """A prepared installation on servers of its own, which the test may stop, kill and empty."""
    database = await open_database(private_postgres.url, name="acceptance", most=4)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        whole = Installation(private_postgres.url, private_rabbitmq.url, database, tmp_path, http)
        try:
            await whole.prepare()
            yield whole
        finally:
            await whole.close()
            await database.close()
