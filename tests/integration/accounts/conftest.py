"""The app of these tests, served."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.testing import AppUnderTest, open_app
from tests.integration.accounts.apps import write_app


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[AppUnderTest]:
    """The app of `apps`, served."""
    async with open_app(write_app(tmp_path / "app")) as opened:
        yield opened
