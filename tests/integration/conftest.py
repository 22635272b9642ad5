"""What tests of the store share."""

from collections.abc import AsyncIterator

import pytest

from penstock.db import Connection, Database, open_database
from tests.servers import Servers, fresh_database


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A pool on an up-to-date, empty database of the test's own."""
    opened = await open_database(database_url, name="test", most=4)
    yield opened
    await opened.close()


@pytest.fixture
async def conn(database: Database) -> AsyncIterator[Connection]:
    """A connection to that database, outside of any transaction."""
    async with database.connection() as connection:
        yield connection


@pytest.fixture(scope="module")
async def module_conn(servers: Servers, database_template: str) -> AsyncIterator[Connection]:
    """A connection to a database that the tests of a module share: for many small cases, which empty their tables
    first.
    """
    async with fresh_database(servers.database_url, template=database_template) as url:
        opened = await open_database(url, name="test", most=1)
        async with opened.connection() as connection:
            yield connection
        await opened.close()
