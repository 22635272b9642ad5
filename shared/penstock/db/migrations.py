"""Brings the database up to date: ordered `.sql` files, each applied once, its checksum remembered.

Files are forward-only and work while the previous release still runs. A file whose first line is `-- migrate:
no-transaction` holds one statement that cannot run in a transaction (such as CREATE INDEX CONCURRENTLY).
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from penstock.db.pool import Connection, Database, quote_identifier
from penstock.db.rights import apply_rights
from penstock.errors import ConfigurationError

_LOCK: Final = 0x50454E53  # "PENS": one migration at a time per database
_NO_TRANSACTION: Final = "-- migrate: no-transaction"
_CONCURRENT_INDEX: Final = re.compile(r"CREATE INDEX CONCURRENTLY (\w+)")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its name without `.sql`, its text, and the SHA-256 of it."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def list_migrations() -> list[Migration]:
    """All migrations that this release ships, in order."""
    found = [entry for entry in files("penstock.db").joinpath("migrations").iterdir() if entry.name.endswith(".sql")]
    return [
        Migration(entry.name.removesuffix(".sql"), entry.read_text("utf-8"))
        for entry in sorted(found, key=lambda entry: entry.name)
    ]


async def find_pending(database: Database) -> list[Migration]:
    """The migrations that this database still needs. Raises ConfigurationError when an applied one was changed."""
    async with database.connection() as conn:
        return _pending(await _applied(conn))


async def migrate(database: Database) -> list[str]:
    """Apply what is pending, and the rights of the services' roles, one process at a time; returns the names applied.

    Safe to run from many places at once.
    """
    async with database.connection() as conn, _alone(conn):
        await conn.execute(
            """CREATE TABLE IF NOT EXISTS public.penstock_migrations (
                   name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"""
        )
        pending = _pending(await _applied(conn))
        for migration in pending:
            await _apply(conn, migration)
        async with conn.transaction():
            await apply_rights(conn)
    return [migration.name for migration in pending]


async def renew_rights(database: Database) -> None:
    """Apply the rights of the services' roles, for roles that are new; a database without tables gets them later."""
    async with database.connection() as conn, _alone(conn), conn.transaction():
        if await _applied(conn):
            await apply_rights(conn)


@asynccontextmanager
async def _alone(conn: Connection) -> AsyncIterator[None]:
    # Polled, because waiting inside pg_advisory_lock holds a snapshot that CREATE INDEX CONCURRENTLY would wait for.
    while not await conn.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
        await asyncio.sleep(0.1)
    try:
        yield
    finally:
        await conn.fetchval("SELECT pg_advisory_unlock($1)", _LOCK)


async def _applied(conn: Connection) -> dict[str, str]:
    if await conn.fetchval("SELECT to_regclass('public.penstock_migrations')") is None:
        return {}
    return {
        row["name"]: row["checksum"]
        for row in await conn.fetch("SELECT name, checksum FROM public.penstock_migrations")
    }


def _pending(applied: dict[str, str]) -> list[Migration]:
    shipped: Sequence[Migration] = list_migrations()
    for migration in shipped:
        if migration.name in applied and applied[migration.name] != migration.checksum:
            raise ConfigurationError(
                f"migration {migration.name} was changed after it was applied to this database; restore the file, or "
                "use a new database"
            )
    return [migration for migration in shipped if migration.name not in applied]


async def _drop_unfinished(conn: Connection, migration: Migration) -> None:
    """Drop what an interrupted CREATE INDEX CONCURRENTLY of this migration has left: an index that nothing uses."""
    index = _CONCURRENT_INDEX.search(migration.sql)
    if index is not None:
        drop = "DROP INDEX CONCURRENTLY IF EXISTS penstock." + quote_identifier(index[1])
        await conn.execute(drop, timeout=3600)


async def _apply(conn: Connection, migration: Migration) -> None:
    record = "INSERT INTO public.penstock_migrations (name, checksum) VALUES ($1, $2)"
    if migration.sql.startswith(_NO_TRANSACTION):
        # It may wait for a reader of minutes, which keeps nobody else waiting.
        await conn.execute("SET lock_timeout = 0")
        try:
            await _drop_unfinished(conn, migration)
            await conn.execute(migration.sql, timeout=3600)
        finally:
            await conn.execute("RESET lock_timeout")
        await conn.execute(record, migration.name, migration.checksum)
        return
    async with conn.transaction():
        await conn.execute(migration.sql, timeout=3600)
        await conn.execute(record, migration.name, migration.checksum)
