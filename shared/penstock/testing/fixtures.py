"""Fixtures for pytest with pytest-asyncio: `from penstock.testing.fixtures import penstock_app, penstock_app_directory`
in a conftest.

Override `penstock_app_directory` to say which app; the default is the directory that pytest runs in.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from penstock.testing.app import AppUnderTest
from penstock.testing.opening import open_app


@pytest.fixture
def penstock_app_directory(pytestconfig: pytest.Config) -> Path:
    """The app that `penstock_app` serves."""
    return pytestconfig.rootpath


@pytest_asyncio.fixture
async def penstock_app(penstock_app_directory: Path) -> AsyncIterator[AppUnderTest]:
    """The app, deployed to `development` and served, on a database of the test's own."""
    async with open_app(penstock_app_directory) as app:
        yield app
