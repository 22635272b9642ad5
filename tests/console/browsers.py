"""Debian's Chromium, installed where it is missing: never a browser that playwright downloads, and never a skip."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

from tests import debian
from tests.private_servers import NoServer

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
WAYS = (
    "Install it (Debian: apt-get install chromium), or name one: "
    "PENSTOCK_TEST_CHROMIUM=/usr/bin/chromium python -m pytest tests/console"
)
# A container has no user namespaces and little shared memory; nothing but our own pages is opened.
_ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--force-color-profile=srgb"]


def find_chromium() -> str:
    """The path of the program. Raises NoServer, which says what to do."""
    given = os.environ.get("PENSTOCK_TEST_CHROMIUM")
    found = given or _installed() or (_installed() if debian.install("chromium") else None)
    if found is None or not os.access(found, os.X_OK):
        raise NoServer(f"No Chromium is installed, and it could not be installed from here. {WAYS}")
    return found


def _installed() -> str | None:
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """A browser without a window, for as long as the block lasts. Raises NoServer."""
    program = find_chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()
