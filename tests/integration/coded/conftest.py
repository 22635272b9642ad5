"""The app of these tests, served."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.testing import AppUnderTest, open_app
from tests.integration.coded.shop import write_app


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AppUnderTest]:
    """The app, for tests that do not count what others may have made."""
    async with open_app(write_app(tmp_path_factory.mktemp("coded")), secrets={"WORD": "sesame-and-more"}) as app:
        yield app


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[AppUnderTest]:
    """The app, to itself."""
    async with open_app(write_app(tmp_path)) as opened:
        yield opened
