"""Databases that tests throw away: made as copies of a template in a server that others may use too."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

from penstock.db import Database, open_database, quote_identifier
from penstock.db.migrations import migrate
from penstock.testing.time import install_clock

EMPTY: Final = "template1"
"""PostgreSQL's own template: a database without tables of ours."""
_DDL_SECONDS: Final = 60.0


async def make_database(server_url: str, *, template: str = EMPTY) -> str:
    """The URL of a new database, a copy of `template`, to which nobody may be connected."""
    name = f"penstock_test_{uuid4().hex}"
    await _execute(server_url, f"CREATE DATABASE {quote_identifier(name)} TEMPLATE {quote_identifier(template)}")
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()


async def drop_database(server_url: str, name: str) -> None:
    """Drop what `make_database` made, even while clients are connected. `name` is its name, not its URL."""
    await _execute(server_url, f"DROP DATABASE IF EXISTS {quote_identifier(name)} WITH (FORCE)")


async def make_template(server_url: str, *, is_movable: bool) -> str:
    """The name of a new database that has all migrations, to be copied.

    In one that `is_movable` time can be moved; so it can in a copy, once the clock is installed there again.
    """
    url = await make_database(server_url)
    if is_movable:
        await install_clock_at(url)
    async with _connected(url, most=2) as database:
        await migrate(database)
    return name_of(url)


async def install_clock_at(url: str) -> None:
    """Let the time of the database at `url` be moved, for all who connect to it from now on."""
    async with _connected(url) as database, database.connection() as conn:
        await install_clock(conn)


def name_of(url: str) -> str:
    """The name of the database at `url`."""
    return urlsplit(url).path.removeprefix("/")


@asynccontextmanager
async def fresh_database(server_url: str, *, template: str = EMPTY) -> AsyncIterator[str]:
    """The URL of a new database, a copy of `template`; dropped at the end, even while clients are connected."""
    url = await make_database(server_url, template=template)
    try:
        yield url
    finally:
        await drop_database(server_url, name_of(url))


async def _execute(url: str, statement: str) -> None:
    async with _connected(url) as database, database.connection() as conn:
        await conn.execute(statement, timeout=_DDL_SECONDS)


@asynccontextmanager
async def _connected(url: str, *, most: int = 1) -> AsyncIterator[Database]:
    database = await open_database(url, name="penstock testing", most=most, wait_seconds=5)
    try:
        yield database
    finally:
        await database.close()
