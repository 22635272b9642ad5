"""Opens an app for a test: database, services, deployment; and leaves nothing behind."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from penstock.definitions.models import ENVIRONMENTS
from penstock.settings import read_settings
from penstock.testing.app import AppUnderTest
from penstock.testing.house import open_house
from penstock.testing.servers import throw_away_database
from penstock.testing.settings import KitSettings

_NOTHING: Final[Mapping[str, object]] = {}


@asynccontextmanager
async def open_app(
    directory: str | Path,
    *,
    environment: str = "development",
    secrets: Mapping[str, str] | None = None,
    settings: Mapping[str, object] = _NOTHING,
) -> AsyncIterator[AppUnderTest]:
    """Serve the app in `directory` on an empty database while the block runs: the real services, in this process.

    `secrets` is what the app sees as `secrets`; `settings` are settings of the services by name, such as `smtp_url`.
    The database is in the server at PENSTOCK_TEST_DATABASE_URL, or in one that this process starts and ends. Outgoing
    calls may reach this machine. Raises ConfigurationError with all that is wrong with the app, with a setting, or when
    there is no PostgreSQL.
    """
    if environment not in ENVIRONMENTS:
        raise ValueError(f"environment is one of {', '.join(ENVIRONMENTS)}, not {environment!r}")
    server_url = read_settings(KitSettings).test_database_url
    async with (
        throw_away_database(server_url) as url,
        open_house(
            Path(directory).resolve(), environment=environment, database_url=url, secrets=secrets or {},
            settings=settings
        ) as house,
    ):  # fmt: skip
        app = AppUnderTest(house)
        await app.deploy()
        await house.start()
        yield app
