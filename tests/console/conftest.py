"""One installation and one browser for all tests of the console that a worker runs: what a test needs, it makes."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from tests.console.browsers import running_browser
from tests.console.browsing import Browsing
from tests.console.running import running_console
from tests.console.story import Story, tell
from tests.servers import Servers


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium."""
    async with running_browser() as running:
        yield running


@pytest.fixture(scope="session")
async def console(
    servers: Servers, database_template: str, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Browsing]:
    """A running console."""
    async with running_console(servers, database_template, browser, tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture(scope="session")
async def story(console: Browsing) -> Story:
    """What has happened before anybody looks."""
    return await tell(console)
