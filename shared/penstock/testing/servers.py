"""Databases for tests: one server per process, started when the first test asks and ended with the process; one
database per app.

Each is a copy of a template that has all migrations and the clock of `penstock.testing.time`, so that an app is ready
in a fraction of a second. With PENSTOCK_TEST_DATABASE_URL that server is used, and nothing but databases is made in it,
and dropped.
"""

import asyncio
import atexit
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from penstock.embedded.postgres import SETTINGS, PostgresServer
from penstock.testing.databases import drop_database, install_clock_at, make_database, make_template, name_of

_SETTINGS: Final = {
    **SETTINGS,
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "100",
}
"""A test's data may go with the machine."""


class _Server:
    """The server that the tests of this process share, and the template in it. `given_url` None stands for one of our
    own.
    """

    def __init__(self, given_url: str | None) -> None:
        self._given_url = given_url
        self._directory: Path | None = None
        self._postgres: PostgresServer | None = None
        self._template: str | None = None
        self._is_starting = threading.Lock()
        atexit.register(self._end)

    async def make_database(self) -> str:
        """The URL of a new database, up to date, whose time can be moved."""
        # Tests may have loops of their own, one after the other or in threads: no lock of asyncio's is good for all of
        # them.
        while not self._is_starting.acquire(blocking=False):
            await asyncio.sleep(0.01)
        try:
            server_url = await self._start()
            if self._template is None:
                self._template = await make_template(server_url, is_movable=True)
        finally:
            self._is_starting.release()
        url = await make_database(server_url, template=self._template)
        await install_clock_at(url)
        return url

    async def drop_database(self, url: str) -> None:
        """Drop what `make_database` made, even while clients are connected."""
        await drop_database(await self._start(), name_of(url))

    async def _start(self) -> str:
        if self._given_url is not None:
            return self._given_url
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="penstock-testing-"))
            self._directory.chmod(0o711)  # another user than root performs PostgreSQL, and has to get to its part of it
            self._postgres = PostgresServer(self._directory, _SETTINGS)
        assert self._postgres is not None
        if not self._postgres.is_running:
            await self._postgres.start()
        return self._postgres.url

    def _end(self) -> None:
        asyncio.run(self._leave())
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    async def _leave(self) -> None:
        if self._postgres is not None:
            await self._postgres.stop(at_once=True)
        elif self._given_url is not None and self._template is not None:
            await drop_database(self._given_url, self._template)


_SERVERS: Final[dict[str | None, _Server]] = {}


@asynccontextmanager
async def throw_away_database(server_url: str | None) -> AsyncIterator[str]:
    """The URL of a new database, up to date, whose time can be moved; dropped at the end.

    In the server at `server_url`; None starts one for this process. Raises ConfigurationError when there is no
    PostgreSQL to start.
    """
    server = _SERVERS.get(server_url)
    if server is None:
        server = _SERVERS[server_url] = _Server(server_url)
    url = await server.make_database()
    try:
        yield url
    finally:
        await server.drop_database(url)
