"""Which installation a command works on: the one the environment names, else the `penstock up` that runs here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from penstock.db import Database, open_database
from penstock.embedded.presence import find_presence
from penstock.embedded.settings import ServerSettings
from penstock.errors import ConfigurationError
from penstock.settings import AppSettings, read_settings

CONNECT_SECONDS: Final = 5.0


class Environment(StrEnum):
    """The two environments."""

    DEVELOPMENT = "development"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the database and the broker are. `amqp_url` is None when the broker is inside a `penstock up`, or not told.

    `admin_url` is known of a `penstock up` only. `source` says, for people, how it was found.
    """

    database_url: str
    amqp_url: str | None
    source: str
    admin_url: str | None = None


def find_installation(data: Path | None) -> Installation:
    """PENSTOCK_DATABASE_URL, unless a data directory is named; else the `penstock up` that runs on it. Raises ConfigurationError."""
    given = read_settings(ServerSettings)
    if given.database_url and data is None:
        return Installation(given.database_url, given.amqp_url, "PENSTOCK_DATABASE_URL")
    directory = data or read_settings(AppSettings).data
    running = find_presence(directory)
    if running is None:
        raise ConfigurationError(
            f"no `penstock up` runs on {directory}"
            + ("" if data else ", and PENSTOCK_DATABASE_URL is not set")
            + "; start one, name its directory with --data, or set PENSTOCK_DATABASE_URL"
        )
    return Installation(running.database_url, running.amqp_url, f"`penstock up` on {directory}", running.admin_url)


@asynccontextmanager
async def open_installation(data: Path | None) -> AsyncIterator[Database]:
    """The database of the installation. Raises ConfigurationError and DatabaseUnavailable, the latter after a few seconds."""
    database = await open_database(find_installation(data).database_url, name="penstock cli", most=2, wait_seconds=CONNECT_SECONDS)
    try:
        yield database
    finally:
        await database.close()
