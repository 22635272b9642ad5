"""The type of these tests, deployed and empty."""

import pytest

from penstock.db import Connection
from penstock.deploying import deploy
from tests.factories import build_app
from tests.integration.things.orders import LIVE, ORDER


@pytest.fixture
async def orders(module_conn: Connection) -> Connection:
    """A connection to a database with the type `order`, and no things."""
    await deploy(module_conn, environment=LIVE, app=build_app(ORDER))
    await module_conn.execute('TRUNCATE live."order", live."user"')
    return module_conn
