"""What an error of PostgreSQL's driver means to the caller, in one place.

Most errors are not the server's word about the data: the connection broke, the server is starting, full, or read-only
after a failover, or the driver has lost its own state. All of those are AWAY: nothing was decided, so the caller may
try again. A CONFLICT means that the whole transaction may be run again at once. Everything else (None) is about the
statement or its data, and trying again cannot help.

The classes and codes are those of "Appendix A. PostgreSQL Error Codes" in PostgreSQL's manual.
"""

import asyncio
import re
from enum import Enum
from typing import Final

import asyncpg

_SEVERAL_COLUMNS: Final = re.compile(r'Key \(([\w"]+(?:, [\w"]+)+)\)=\(')


class Trouble(Enum):
    """Why a statement could not be carried out, when its data is not to blame."""

    AWAY = "away"
    CONFLICT = "conflict"


_AWAY_CLASSES: Final = frozenset(
    {
        "08",  # connection exception
        "28",  # invalid authorization: a password that is being changed
        "3D",  # the database does not exist: it is being restored
        "53",  # insufficient resources: connections, memory, disk
        "57",  # operator intervention: shutdown, crash, starting up, a cancelled statement
        "58",  # system error: input and output
        "F0",  # configuration file error
    }
)
"""Not XX (internal error): `invalid memory alloc request size` is one, and comes again with the same data forever."""
_AWAY_CODES: Final = frozenset(
    {
        "25006",  # read-only transaction: this server was a primary before a failover
        "25P03",  # idle in transaction for too long: this process stood still
        "25P04",  # the transaction took too long
        "40003",  # statement completion unknown
    }
)
_CONFLICT_CLASSES: Final = frozenset({"40", "72"})  # transaction rollback, snapshot too old
_CONFLICT_CODES: Final = frozenset(
    {
        "26000",  # the prepared statement is gone: a pooler gave us another connection
        "42P05",  # the prepared statement exists already, for the same reason
        "55006",  # object in use
        "55P03",  # lock not available
    }
)
_STALE_PLANS: Final = (asyncpg.InvalidCachedStatementError, asyncpg.exceptions.OutdatedSchemaCacheError)
"""A table has changed since the driver looked at it; it looks again after this."""
_DRIVER_KINDS: Final = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, EOFError)
"""Errors of the driver itself. OSError includes time-outs, TLS errors and unknown hosts; InternalClientError is "cannot
switch to state …; another operation is in progress".
"""


def find_trouble(error: BaseException) -> Trouble | None:
    """What `error` means; None when it is the server's word about a statement or its data, or not the driver's."""
    if isinstance(error, _STALE_PLANS):
        return Trouble.CONFLICT
    if isinstance(error, asyncpg.PostgresError):
        return _judge(error.sqlstate)
    return Trouble.AWAY if isinstance(error, _DRIVER_KINDS) else None


def hides_cancellation(error: BaseException) -> bool:
    """Whether `error` came while a cancellation was undoing its transaction, and so took the cancellation's place."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, TimeoutError):  # a time-out's own cancellation has ended in it
        if isinstance(cause, asyncio.CancelledError):
            return True
        cause = cause.__context__
    return False


def _judge(sqlstate: str | None) -> Trouble | None:
    if sqlstate is None:  # the server said that it failed, but not how
        return Trouble.AWAY
    if sqlstate in _AWAY_CODES or sqlstate[:2] in _AWAY_CLASSES:
        return Trouble.AWAY
    if sqlstate in _CONFLICT_CODES or sqlstate[:2] in _CONFLICT_CLASSES:
        return Trouble.CONFLICT
    return None


def describe_duplicate(error: asyncpg.UniqueViolationError) -> str:
    """Which values occur twice, for the one who gave them: `Key (number)=(7) already exists.` Of several columns only
    the names: a row that is changed has values that its changer may never have seen.
    """
    detail = error.detail or str(error)
    columns = _SEVERAL_COLUMNS.match(detail)
    return f"Key ({columns[1]}) already exists." if columns else detail
