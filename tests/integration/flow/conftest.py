"""What tests of flow control share."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.executing import serve_outside
from tests.integration.flow.ledger import Ledger


@pytest.fixture
async def ledger() -> AsyncIterator[Ledger]:
    """A server that notes calls. It answers at once, unless a test clears `open`."""
    server = Ledger()
    server.open.set()
    async with serve_outside(server.handle) as server.url:
        yield server
