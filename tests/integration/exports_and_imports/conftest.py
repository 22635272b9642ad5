"""The type of these tests, deployed."""

from functools import partial

import pytest

from penstock.db import Database
from penstock.deploying import deploy
from tests.factories import build_app
from tests.integration.executing import ENVIRONMENT
from tests.integration.exports_and_imports.orders import EVERYTHING


@pytest.fixture
async def orders(database: Database) -> Database:
    """A database with the type `order`, in development and live."""
    for environment in (ENVIRONMENT, "live"):
        await database.in_transaction(partial(deploy, environment=environment, app=build_app(EVERYTHING)))
    return database
