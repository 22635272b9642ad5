"""Errors of the driver as they leave our pool: a lost connection is an absence, and never swallows a cancellation."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from penstock.db import Connection, Database, give_way
from penstock.errors import DatabaseUnavailable
from tests.eventually import eventually


async def lose(conn: Connection) -> None:
    """Have the server end this connection, as it does when it is shut down."""
    await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")


async def lose_own_state(conn: Connection) -> None:
    await conn.execute("SELECT 1")
    raise asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress")


@pytest.mark.parametrize("work", [lose, lose_own_state])
async def test_a_connection_that_is_lost_means_that_the_database_is_away(
    database: Database, work: Callable[[Connection], Awaitable[None]]
) -> None:
    with pytest.raises(DatabaseUnavailable):
        await database.in_transaction(work)
    with pytest.raises(DatabaseUnavailable):
        async with database.connection() as conn:
            await work(conn)
    assert await database.is_ready()


async def test_a_cancellation_is_kept_when_the_connection_is_lost_while_it_undoes_its_transaction(
    database: Database,
) -> None:
    began, lost = asyncio.Event(), asyncio.Event()

    async def work(conn: Connection) -> None:
        pid = await conn.fetchval("SELECT pg_backend_pid()")
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            async with database.connection() as other:
                await other.execute("SELECT pg_terminate_backend($1, 5000)", pid)
            lost.set()

    task = asyncio.create_task(database.in_transaction(work))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lost.is_set()
    assert task.cancelled()


async def test_who_gives_way_leaves_a_connection_to_others(database: Database) -> None:
    held, free = 0, asyncio.Event()

    async def hold() -> None:
        nonlocal held
        give_way()
        async with database.connection():
            held += 1
            await free.wait()

    async with asyncio.TaskGroup() as group:
        for _ in range(database.most_connections):
            group.create_task(hold())
        await eventually(lambda: held == database.most_connections - 1)
        async with database.connection() as conn:
            assert await conn.fetchval("SELECT 1") == 1
        assert held == database.most_connections - 1
        free.set()
    assert held == database.most_connections, "it had its turn, too"
