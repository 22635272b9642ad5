"""Migrations: applied once, in order, by one process at a time, and never changed afterwards."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from penstock.db import Database, open_database
from penstock.db.migrations import find_pending, list_migrations, migrate
from penstock.domain.states import FINAL_STATES, RunState
from penstock.errors import ConfigurationError, DatabaseUnavailable
from penstock.testing.databases import fresh_database
from tests.servers import Servers


@pytest.fixture
async def empty(servers: Servers) -> AsyncIterator[Database]:
    """A database that nothing was applied to."""
    async with fresh_database(servers.database_url) as url:
        database = await open_database(url, name="migrations", most=4)
        yield database
        await database.close()


async def test_all_are_applied_once_by_rivals(empty: Database) -> None:
    names = [migration.name for migration in list_migrations()]
    assert [migration.name for migration in await find_pending(empty)] == names
    applied = await asyncio.gather(*(migrate(empty) for _ in range(3)))
    assert sorted(applied, key=len) == [[], [], names]
    assert await find_pending(empty) == []


async def test_changed_file_is_refused_by_name(empty: Database) -> None:
    await migrate(empty)
    async with empty.connection() as conn:
        await conn.execute("UPDATE public.penstock_migrations SET checksum = 'other'")
    with pytest.raises(
        ConfigurationError, match=f"migration {list_migrations()[0].name} was changed after it was applied"
    ):
        await migrate(empty)


async def test_database_that_does_not_exist_is_a_configuration_error(servers: Servers) -> None:
    with pytest.raises(ConfigurationError, match="PENSTOCK_DATABASE_URL"):
        await open_database(servers.database_url.rsplit("/", 1)[0] + "/no_such_database", name="migrations")


async def test_server_that_never_comes_is_told(servers: Servers) -> None:
    with pytest.raises(DatabaseUnavailable, match="did not answer within"):
        await open_database("postgresql://app@127.0.0.1:1/none", name="migrations", wait_seconds=0.3)


async def test_constraints_mirror_the_states_of_a_run(empty: Database) -> None:
    await migrate(empty)
    async with empty.connection() as conn:
        definition = str(
            await conn.fetchval(
                "SELECT string_agg(pg_get_constraintdef(oid), ' ') FROM pg_constraint WHERE conrelid = "
                "'penstock.runs'::regclass"
            )
        )
    for state in RunState:
        assert f"'{state}'" in definition
        assert state.is_final == (state in FINAL_STATES)
