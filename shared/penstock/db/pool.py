"""Connections to PostgreSQL: a pool with deadlines everywhere, and failures sorted by what a caller can do about them.

A COMMIT whose outcome is unknown (the server died in it) surfaces as DatabaseUnavailable too, so every write has to be
safe to repeat: all of ours are guarded by a key or by the run's attempt.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from penstock import exact_json
from penstock.db.failures import Trouble, find_trouble, hides_cancellation
from penstock.errors import ConfigurationError, DatabaseUnavailable
from penstock.metrics import DATABASE_UNAVAILABLE, watch_pool

if TYPE_CHECKING:  # asyncpg's classes are generic in its stubs only
    Connection = PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
    RawConnection = asyncpg.Connection[asyncpg.Record]
else:
    Connection, Pool, RawConnection = PoolConnectionProxy, asyncpg.Pool, asyncpg.Connection
Record = asyncpg.Record
UniqueViolation = asyncpg.UniqueViolationError
UndefinedTable = asyncpg.UndefinedTableError
Refused = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError, asyncpg.ProgramLimitExceededError)
"""What a statement raises for data that does not fit the table: another row may fit."""
DataProblem = (asyncpg.DataError, asyncpg.CheckViolationError)
"""Values that do not fit the type of a column, or its checks."""
T = TypeVar("T")

COMMAND_TIMEOUT_SECONDS: Final = 15.0
ACQUIRE_TIMEOUT_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 20.0
_PAUSE_SECONDS: Final = 0.5
_MAX_TRIES: Final = 5
_RESERVED: Final = 5
"""Of how many connections one is kept for those who do not give way."""
_MAX_QUERIES: Final = 5_000
"""A connection is replaced after this many queries, with its plans: a plan for a small table scans a large one."""


_gives_way: ContextVar[bool] = ContextVar("gives_way", default=False)


def give_way() -> None:
    """Leave the last connections of each pool to others, from now on and in this task: nobody waits for its work."""
    _gives_way.set(True)


def quote_identifier(name: str) -> str:
    """`name` as a quoted SQL identifier. The one way in which a name from a definition may get into a statement."""
    if not name or "\x00" in name or len(name.encode()) > 63:
        raise ValueError(f"{name!r} cannot be an SQL identifier")
    return '"' + name.replace('"', '""') + '"'


async def _prepare(connection: RawConnection) -> None:
    # Binary, because COPY knows no other; the first byte is the version of jsonb's wire format. Arrays of JSON are
    # passed as text[] and cast, since the driver would take a JSON list for another dimension of the array.
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + exact_json.dumps_storable(value),
        decoder=lambda raw: exact_json.loads_stored(raw[1:]),
    )


class _PooledConnection(RawConnection):
    def get_reset_query(self) -> str:
        """Do nothing: our code leaves no session state, and the driver's reset costs a round trip per use.

        An open transaction is rolled back all the same.
        """
        return ""


class Database:
    """A pool of connections. `connection` and `in_transaction` raise DatabaseUnavailable when the server is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting = 0
        most = pool.get_max_size()
        # Two at least, because an export takes a second one.
        self._leftover = asyncio.Semaphore(max(2, most - max(1, most // _RESERVED)))
        watch_pool(
            used=lambda: pool.get_size() - pool.get_idle_size(),
            idle=pool.get_idle_size,
            limit=pool.get_max_size(),
            waiting=lambda: self._waiting,
        )

    @property
    def most_connections(self) -> int:
        """How many connections there may be at once."""
        return self._pool.get_max_size()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for single statements. Raises DatabaseUnavailable when there is none, it breaks, or a lock
        is not free in time.
        """
        try:
            async with self._connection() as connection:
                yield connection
        except Exception as error:
            if find_trouble(error) is Trouble.CONFLICT:
                raise DatabaseUnavailable(f"PostgreSQL reports a conflict: {error}") from error
            raise

    def _connection(self) -> AbstractAsyncContextManager[Connection]:
        return self._give_way_and_acquire() if _gives_way.get() else self._acquire()

    @asynccontextmanager
    async def _give_way_and_acquire(self) -> AsyncIterator[Connection]:
        self._waiting += 1
        try:
            async with asyncio.timeout(ACQUIRE_TIMEOUT_SECONDS):
                await self._leftover.acquire()
        except TimeoutError as error:
            DATABASE_UNAVAILABLE.inc()
            raise DatabaseUnavailable("all connections to PostgreSQL are in use") from error
        finally:
            self._waiting -= 1
        try:
            async with self._acquire() as connection:
                yield connection
        finally:
            self._leftover.release()

    @asynccontextmanager
    async def _acquire(self) -> AsyncIterator[Connection]:
        try:
            # Given a timeout of its own, the driver makes a task of the waiting, even where a connection is free.
            self._waiting += 1
            try:
                async with asyncio.timeout(ACQUIRE_TIMEOUT_SECONDS):
                    connection = await self._pool.acquire()
            finally:
                self._waiting -= 1
            try:
                yield connection
            finally:
                await self._pool.release(connection, timeout=ACQUIRE_TIMEOUT_SECONDS)
        except Exception as error:
            if find_trouble(error) is not Trouble.AWAY:
                raise
            if hides_cancellation(error):
                raise asyncio.CancelledError from error
            DATABASE_UNAVAILABLE.inc()
            raise DatabaseUnavailable(f"PostgreSQL is out of reach: {type(error).__name__}: {error}") from error

    async def in_transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """What `work` returns, its statements committed together; run again as a whole after a deadlock."""

        async def transact(connection: Connection) -> T:
            async with connection.transaction():
                return await work(connection)

        return await self.at_once(transact)

    async def at_once(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """What `work` returns; after a deadlock, all of it runs again. Each statement commits by itself."""
        for attempt in range(_MAX_TRIES):
            try:
                async with self._connection() as connection:
                    return await work(connection)
            except Exception as error:
                if find_trouble(error) is not Trouble.CONFLICT:
                    raise
                if attempt == _MAX_TRIES - 1:
                    raise DatabaseUnavailable(f"PostgreSQL reports a conflict again and again: {error}") from error
                await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))
        raise AssertionError("unreachable")

    async def is_ready(self) -> bool:
        """Whether the server answers and takes writes."""
        try:
            async with asyncio.timeout(2), self.connection() as connection:
                return not await connection.fetchval("SELECT pg_is_in_recovery()")
        except (DatabaseUnavailable, TimeoutError):
            return False

    async def wait_until_ready(self, is_leaving: Callable[[], bool]) -> None:
        """Wait until the server is back, for 20 s at most, and no longer than until `is_leaving`.

        For a message that could not be handled: it is held back, instead of being sent round and round.
        """
        for _ in range(round(_PATIENCE_SECONDS / _PAUSE_SECONDS)):
            await asyncio.sleep(_PAUSE_SECONDS)
            if is_leaving() or await self.is_ready():
                return

    async def close(self) -> None:
        """Close all connections; those that do not end in time are cut."""
        try:
            async with asyncio.timeout(3):
                await self._pool.close()
        except Exception as error:
            self._pool.terminate()
            if find_trouble(error) is not Trouble.AWAY:
                raise

    def cut(self) -> None:
        """End all connections at once, as a crash of this process would; uncommitted work is lost. For crash tests."""
        self._pool.terminate()


async def open_database(url: str, *, name: str, most: int = 10, wait_seconds: float = 60.0) -> Database:
    """A Database at `url`, with at most `most` connections that carry `name` as their application name.

    Waits for a server that is not up yet. Raises ConfigurationError when the URL, user or database is wrong,
    DatabaseUnavailable when the server has not come up in `wait_seconds`.
    """
    deadline = asyncio.get_running_loop().time() + wait_seconds
    pause = 0.1
    while True:
        try:
            return Database(await _create_pool(url, name, most))
        except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError, ValueError) as error:
            raise ConfigurationError(f"PENSTOCK_DATABASE_URL: {error}") from error
        except Exception as error:
            if find_trouble(error) is None:
                raise
            if asyncio.get_running_loop().time() + pause > deadline:
                raise DatabaseUnavailable(f"PostgreSQL did not answer within {wait_seconds:.0f} s: {error}") from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)


async def _create_pool(url: str, name: str, most: int) -> Pool:
    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=most,
        timeout=5,
        command_timeout=COMMAND_TIMEOUT_SECONDS,
        max_inactive_connection_lifetime=300,
        max_queries=_MAX_QUERIES,
        init=_prepare,
        connection_class=_PooledConnection,
        server_settings={
            "application_name": name,
            "timezone": "UTC",
            "idle_in_transaction_session_timeout": "15s",
            "lock_timeout": "5s",
            "jit": "off",
            # What is looked up all the time is in memory. By the default, 4, a table of up to eight pages is read whole
            # for each row that is looked up, and a plan that does so is kept while the table grows.
            "random_page_cost": "1.1",
        },
    )
