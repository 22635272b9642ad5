"""Which errors of the driver mean that the database is away, as a table; and that none takes a cancellation's place."""

import asyncio
import ssl

import asyncpg
import pytest

from penstock.db.failures import Trouble, find_trouble, hides_cancellation

AWAY = Trouble.AWAY
CONFLICT = Trouble.CONFLICT


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"), AWAY),
        (asyncpg.exceptions.ProtocolError("unexpected message"), AWAY),
        (asyncpg.InterfaceError("connection is closed"), AWAY),
        (asyncpg.InterfaceError("pool is closing"), AWAY),
        (asyncpg.exceptions.TargetServerAttributeNotMatched("no primary"), AWAY),
        (asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"), AWAY),
        (asyncpg.ConnectionFailureError("the server closed the connection"), AWAY),
        (asyncpg.TransactionResolutionUnknownError("unknown"), AWAY),
        (asyncpg.ProtocolViolationError("unexpected message"), AWAY),
        (asyncpg.exceptions.UnknownPostgresError("no code"), AWAY),
        (asyncpg.PostgresError("no code"), AWAY),
        (ConnectionResetError("reset by peer"), AWAY),
        (ConnectionRefusedError("refused"), AWAY),
        (BrokenPipeError("broken pipe"), AWAY),
        (OSError(113, "no route to host"), AWAY),
        (ssl.SSLError("bad record"), AWAY),
        (ssl.SSLEOFError("ended in violation of the protocol"), AWAY),
        (TimeoutError(), AWAY),
        (asyncio.IncompleteReadError(b"", 4), AWAY),
        (asyncpg.TooManyConnectionsError("sorry, too many clients already"), AWAY),
        (asyncpg.OutOfMemoryError("out of memory"), AWAY),
        (asyncpg.DiskFullError("no space left on device"), AWAY),
        (asyncpg.AdminShutdownError("terminating connection due to administrator command"), AWAY),
        (asyncpg.CrashShutdownError("because of a crash of another server process"), AWAY),
        (asyncpg.CannotConnectNowError("the database system is starting up"), AWAY),
        (asyncpg.DatabaseDroppedError("dropped"), AWAY),
        (asyncpg.QueryCanceledError("canceling statement due to user request"), AWAY),
        (asyncpg.IdleSessionTimeoutError("idle"), AWAY),
        (asyncpg.IdleInTransactionSessionTimeoutError("idle in transaction"), AWAY),
        (asyncpg.TransactionTimeoutError("transaction timeout"), AWAY),
        (asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"), AWAY),
        (asyncpg.StatementCompletionUnknownError("unknown"), AWAY),
        (asyncpg.PostgresIOError("could not read block"), AWAY),
        (asyncpg.InvalidPasswordError("password authentication failed"), AWAY),
        (asyncpg.InvalidCatalogNameError("the database does not exist"), AWAY),
        (asyncpg.DeadlockDetectedError("deadlock"), CONFLICT),
        (asyncpg.SerializationError("serialization"), CONFLICT),
        (asyncpg.LockNotAvailableError("lock timeout"), CONFLICT),
        (asyncpg.SnapshotTooOldError("snapshot too old"), CONFLICT),
        (asyncpg.InvalidSQLStatementNameError("prepared statement does not exist"), CONFLICT),
        (asyncpg.InvalidCachedStatementError("cached plan must not change result type"), CONFLICT),
        (asyncpg.exceptions.OutdatedSchemaCacheError("a type has changed"), CONFLICT),
        (asyncpg.UniqueViolationError("twice"), None),
        (asyncpg.InternalServerError("invalid memory alloc request size 1073741824"), None),
        (asyncpg.DataCorruptedError("invalid page"), None),
        (asyncpg.CheckViolationError("check"), None),
        (asyncpg.DataError("invalid input for query argument $1"), None),
        (asyncpg.CharacterNotInRepertoireError("a NUL"), None),
        (asyncpg.ProgramLimitExceededError("index row size"), None),
        (asyncpg.UndefinedTableError("no such table"), None),
        (asyncpg.RaiseError("raised by a trigger"), None),
        (ValueError("of ours"), None),
        (asyncio.CancelledError(), None),
    ],
)
def test_what_an_error_of_the_driver_means(error: BaseException, trouble: Trouble | None) -> None:
    assert find_trouble(error) is trouble


def raised_while(first: BaseException, second: BaseException) -> BaseException:
    try:
        try:
            raise first
        finally:
            raise second
    except BaseException as error:
        return error


def test_an_error_of_a_rollback_does_not_take_the_place_of_a_cancellation() -> None:
    failed = asyncpg.InterfaceError("the underlying connection is closed")
    assert hides_cancellation(raised_while(asyncio.CancelledError(), failed))


def test_a_time_out_is_not_a_hidden_cancellation() -> None:
    assert not hides_cancellation(raised_while(asyncio.CancelledError(), TimeoutError()))
    failed = asyncpg.InterfaceError("the underlying connection is closed")
    assert not hides_cancellation(raised_while(raised_while(asyncio.CancelledError(), TimeoutError()), failed))
    assert not hides_cancellation(raised_while(ConnectionResetError(), asyncpg.InterfaceError("closed")))
