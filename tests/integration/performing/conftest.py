"""What tests of runs share."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.executing import Outside, serve_outside


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    """A server that runs call, and that answers when the test says so."""
    server = Outside()
    async with serve_outside(server.handle) as server.url:
        yield server
