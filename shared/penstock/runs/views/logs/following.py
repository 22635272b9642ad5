"""New lines of the log, each once, for those who follow it.

Lines are committed in another order than that of their ids and times, so neither says what is new. What is new is what
an earlier snapshot of the database has not seen: each line carries the transaction that wrote it. A cursor is that
snapshot; while it catches up with a later one it also has the place that was reached between the two. So a follower who
comes back continues behind the last line that it has, without a gap and without a line twice.
"""

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, NamedTuple

from penstock.db import Connection
from penstock.runs.views.logs.emails import with_emails
from penstock.runs.views.logs.filters import ALL_SHOWN, LogFilter
from penstock.runs.views.logs.residual import residual
from penstock.runs.views.logs.statements import LIST_NEW
from penstock.runs.views.logs.unfolding import list_courses, unfold
from penstock.runs.views.models import LogEntry

_MAX_LINES: Final = 500
_MAX_AGE: Final = timedelta(days=7)
"""A cursor that is older misses what was written before."""
_CURSOR: Final = re.compile(r"([0-9:,]{5,8000})(?:~([0-9:,]{5,8000})~(\d{1,20})~(\d{1,19})~(\d{1,7}))?", re.ASCII)
_SNAPSHOT: Final = re.compile(r"(\d{1,20}):(\d{1,20}):((?:\d{1,20},)*\d{1,20})?", re.ASCII)
_MAX_XID: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class LogCursor:
    """How far a follower is: what the snapshot `seen` saw, and, while it catches up with `until`, the line of
    transaction and id of which `shown` lines were unfolded.
    """

    seen: str
    until: str | None = None
    tx: int = 0
    id: int = 0
    shown: int = 0

    def __str__(self) -> str:
        """As `read` takes it."""
        return self.seen if self.until is None else f"{self.seen}~{self.until}~{self.tx}~{self.id}~{self.shown}"

    @classmethod
    def read(cls, text: str) -> "LogCursor":
        """What `str` has written. Raises ValueError."""
        found = _CURSOR.fullmatch(text)
        if found is None:
            raise ValueError("this is not the id of an event of the log")
        seen, until, *place = found.groups()
        _check_snapshot(seen)
        if until is None:
            return cls(seen)
        _check_snapshot(until)
        tx, id, shown = map(int, place)
        if max(tx, id) > _MAX_XID:
            raise ValueError("this is not the id of an event of the log")
        return cls(seen, until, tx, id, shown)


class NewLine(NamedTuple):
    """A line, and the cursor behind it."""

    line: LogEntry
    cursor: LogCursor


@dataclass(frozen=True, slots=True)
class NewLines:
    """The next lines, the cursor behind them all, and whether more are there already."""

    lines: list[NewLine]
    cursor: LogCursor
    is_more: bool


def _check_snapshot(text: str) -> None:
    """As PostgreSQL does it: numbers in order, those of open transactions between the two bounds."""
    found = _SNAPSHOT.fullmatch(text)
    if found is not None:
        low, high = int(found[1]), int(found[2])
        open = [int(number) for number in found[3].split(",")] if found[3] else []
        bounds = [low, *open, high]
        if low > 0 and high <= _MAX_XID and bounds == sorted(bounds) and len({*open, high}) == len(open) + 1:
            return
    raise ValueError("this is not the id of an event of the log")


async def begin_following(conn: Connection) -> LogCursor:
    """The cursor behind all that is written by now."""
    return LogCursor(await conn.fetchval("SELECT pg_current_snapshot()::text"))


async def list_new_lines(conn: Connection, wanted: LogFilter, *, cursor: LogCursor) -> NewLines:
    """What was written since, in the order of transactions; the lines of a run that has ended stand together."""
    now = await begin_following(conn)
    if _end(cursor.until or cursor.seen) > _end(now.seen):  # of another database, or of before one was restored
        return NewLines([], now, is_more=False)
    until = cursor.until or now.seen
    rows = await conn.fetch(
        LIST_NEW,
        wanted.environment,
        cursor.seen,
        until,
        str(cursor.tx),
        cursor.id,
        _MAX_AGE,
        _MAX_LINES,
        *residual(wanted, (), reads_all_ends=True),
    )
    lines = [LogEntry.model_validate(dict(row)) for row in rows]
    courses = await list_courses(conn, lines=lines)
    found: list[NewLine] = []
    reached = replace(cursor, until=until)
    for row, line in zip(rows, lines, strict=True):
        place = (int(row["tx"]), line.id)
        shown = cursor.shown if place == (cursor.tx, cursor.id) else 0
        unfolded = unfold(line, courses)
        for number, one in enumerate(unfolded[shown:], start=shown + 1):
            reached = LogCursor(cursor.seen, until, *place, ALL_SHOWN if number == len(unfolded) else number)
            if wanted.admits(one):
                found.append(NewLine(one, reached))
    is_more = len(rows) == _MAX_LINES
    shown_lines = await with_emails(conn, wanted.environment, [new.line for new in found])
    new_lines = [NewLine(line, new.cursor) for line, new in zip(shown_lines, found, strict=True)]
    return NewLines(new_lines, reached if is_more else LogCursor(until), is_more or until != now.seen)


def _end(snapshot: str) -> int:
    return int(snapshot.split(":")[1])
