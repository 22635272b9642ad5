"""What tests on real servers share: a pool, a broker, a house with executors, a station with schedulers.

A module whose time moves overrides `database_url`; one that concerns both brokers overrides `broker`.
"""

from collections.abc import AsyncIterator

import pytest

from penstock.broker.inprocess import InProcessBroker
from penstock.broker.port import Broker
from penstock.broker.rabbitmq import connect
from penstock.contracts.topology import topology
from penstock.db import Connection, Database, open_database
from penstock.testing.databases import fresh_database
from tests.integration.executing import House, open_house
from tests.integration.scheduling import Station
from tests.servers import Servers


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


@pytest.fixture
async def rabbitmq(amqp_url: str) -> AsyncIterator[Broker]:
    """A client of a virtual host of the test's own."""
    broker = await connect(amqp_url, topology=topology(), name="test")
    yield broker
    await broker.close()


@pytest.fixture
async def inprocess() -> AsyncIterator[Broker]:
    """The broker of `penstock up`."""
    broker = InProcessBroker(topology())
    yield broker
    await broker.close()


@pytest.fixture
def broker(inprocess: Broker) -> Broker:
    """The broker of the house and of the station."""
    return inprocess


@pytest.fixture
async def house(database_url: str, broker: Broker) -> AsyncIterator[House]:
    """A house without an app. Its connections are named as those of a service are."""
    async with open_house(database_url, broker) as opened:
        yield opened


@pytest.fixture
async def station(database: Database, broker: Broker) -> Station:
    """A station with its app, whose executor's queue is read."""
    station = Station(database, broker)
    await station.open()
    return station
