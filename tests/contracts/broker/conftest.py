"""Both brokers. Each test has queues of its own: a vhost, or a new in-process broker."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from penstock.broker.inprocess import InProcessBroker
from penstock.broker.port import Broker
from penstock.broker.rabbitmq import connect
from tests.contracts.broker.joining import TOPOLOGY, Join


@pytest.fixture
async def rabbitmq(amqp_url: str) -> AsyncIterator[Join]:
    """Makes clients of one vhost."""
    async with AsyncExitStack() as opened:

        async def open_client() -> Broker:
            broker = await connect(amqp_url, topology=TOPOLOGY, name="contract")
            opened.push_async_callback(broker.close)
            return broker

        yield open_client


@pytest.fixture
async def inprocess() -> AsyncIterator[Join]:
    """Makes clients of one in-process broker."""
    async with AsyncExitStack() as opened:
        first = InProcessBroker(TOPOLOGY)

        async def open_client() -> Broker:
            broker = first.share()
            opened.push_async_callback(broker.close)
            return broker

        yield open_client


@pytest.fixture(params=["rabbitmq", "inprocess"])
def join(request: pytest.FixtureRequest) -> Join:
    """Makes clients of one broker."""
    clients: Join = request.getfixturevalue(request.param)
    return clients


@pytest.fixture
async def broker(join: Join) -> Broker:
    """One client."""
    return await join()
