"""Installations for the stories: on the shared servers, or on private ones that a test may stop, kill and empty."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from penstock.db import open_database
from tests.acceptance.installation import Installation, Service


@pytest.fixture
async def installation(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Installation]:
    """A prepared installation without services, on the test's own database and vhost."""
    database = await open_database(database_url, name="acceptance", most=4)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        whole = Installation(database_url, amqp_url, database, tmp_path, http)
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
