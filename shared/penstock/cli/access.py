"""Which installation a command works on: the one the environment names, else the `penstock up` that runs here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, overload

from penstock.db import Database, open_database
from penstock.embedded.keys import read_kept_key
from penstock.embedded.presence import find_presence
from penstock.embedded.settings import ServerSettings
from penstock.encryption import HOW_TO_MAKE_ONE, Keyring, parse_keyring
from penstock.errors import ConfigurationError
from penstock.redaction import Redactor
from penstock.settings import KEY_VARIABLE, AppSettings, read_secrets, read_settings
from penstock.store.secrets import Secrets

CONNECT_SECONDS: Final = 5.0


class Environment(StrEnum):
    """The two environments."""

    DEVELOPMENT = "development"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the database and the broker are. `amqp_url` is None when the broker is in a `penstock up`, or not given.

    `admin_url` is known of a `penstock up` only. `source` says, for people, how it was found.
    """

    database_url: str
    amqp_url: str | None
    source: str
    admin_url: str | None = None


def find_installation(data: Path | None) -> Installation:
    """PENSTOCK_DATABASE_URL, unless a data directory is named; else the `penstock up` that runs on it. Raises
    ConfigurationError.
    """
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


@overload
def find_keyring(data: Path | None) -> Keyring: ...


@overload
def find_keyring(data: Path | None, *, is_required: bool) -> Keyring | None: ...


def find_keyring(data: Path | None, *, is_required: bool = True) -> Keyring | None:
    """The keys of the installation: PENSTOCK_SECRET_KEY, else the one that a `penstock up` on the data directory has
    made.

    Raises ConfigurationError when one is required and there is none.
    """
    given = read_settings(ServerSettings)
    if given.secret_key is not None:
        return parse_keyring(given.secret_key.get_secret_value())
    kept = None if given.database_url and data is None else read_kept_key(data or read_settings(AppSettings).data)
    if kept is not None:
        return parse_keyring(kept)
    if is_required:
        find_installation(data)  # where there is nothing at all, that is what to say
        raise ConfigurationError(
            f"{KEY_VARIABLE} is not set; it encrypts secrets, and ingress and executors need the same to read them; "
            f"{HOW_TO_MAKE_ONE}"
        )
    return None


@asynccontextmanager
async def open_installation(data: Path | None) -> AsyncIterator[Database]:
    """The database of the installation. Raises ConfigurationError and DatabaseUnavailable, the latter after a few
    seconds.
    """
    database = await open_database(
        find_installation(data).database_url, name="penstock cli", most=2, wait_seconds=CONNECT_SECONDS
    )
    try:
        yield database
    finally:
        await database.close()


async def find_redactor(database: Database, data: Path | None, environment: str) -> Redactor:
    """Takes the environment's secrets out of what is printed, as far as their keys are known here."""
    keyring = find_keyring(data, is_required=False)
    if keyring is None:
        return Redactor(read_secrets().items())
    secrets = Secrets(database, keyring)
    await secrets.refresh()
    return secrets.redactor(environment)
