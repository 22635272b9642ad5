"""Pages of the log, newest first.

A page looks at a bounded number of lines. Where what is wanted is rarer than that, it has fewer results than were asked
for, perhaps none, and says where to continue: so every page takes about the same time, however many lines there are.

What lines contain is looked for in two ways. What is common is found among the newest lines. What is rare is found by
the index of words, of which each day's partition has its own: first in the newest day, then in all days before it.
Where a span has more lines with these words than may be sorted, a shorter one is looked through, and of a single day
its lines by time.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from penstock.db import Connection
from penstock.runs.views.logs.emails import with_emails
from penstock.runs.views.logs.filters import LogFilter, LogPlace, Way
from penstock.runs.views.logs.residual import list_names, residual
from penstock.runs.views.logs.statements import LIST_BY, LIST_BY_WORDS
from penstock.runs.views.logs.unfolding import list_courses, unfold
from penstock.runs.views.models import LogEntry
from penstock.runs.views.pages import Page

_MAX_LOOKED: Final = 25_000
_MAX_READ: Final = 1_000
"""Lines that are unfolded, to see whether what they stand for is wanted."""
_MAX_BY_TIME: Final = 1_000
"""Lines that are looked at for words before the index of words is."""
_MAX_LOOKUPS: Final = 50
_MAX_BY_WORDS: Final = 2_000
"""Lines with the words that are read of one span, and then sorted."""
_SPANS: Final = (1, 7, None)
"""Days that are looked through at once; None: all that there are."""
_WHOLE: Final = len(_SPANS) - 1
_FACTOR: Final = 4
_MAX_SIZE: Final = 10_000
_MAX_LINES: Final = 250
"""Lines of one chunk that may be wanted."""
_MAX_ID: Final = 2**63 - 1
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_FEW: Final = (Way.RUN, Way.CHAIN, Way.USER)
"""Ways to so few lines that words are not looked up."""


class _Chunk(NamedTuple):
    """Lines that may be wanted; `is_last`: there are no more, `is_sparse`: they are few among those looked at.
    `is_dense`: too many lines have the words, so that the newest are not known, and there are none of them here.
    """

    lines: Sequence[LogEntry]
    is_last: bool
    is_sparse: bool = False
    is_dense: bool = False


@dataclass(slots=True)
class _Look:
    """How a page is looked for: from which place on, and how much was looked at so far."""

    wanted: LogFilter
    limit: int
    names: Sequence[str]
    place: LogPlace | None
    looked: int = 0
    read: int = 0
    lookups: int = 0

    @property
    def is_over(self) -> bool:
        """Whether the page has looked at as much as it may."""
        return self.looked >= _MAX_LOOKED or self.read >= _MAX_READ or self.lookups >= _MAX_LOOKUPS


async def list_logs(
    conn: Connection, wanted: LogFilter, *, after: LogPlace | None, limit: int
) -> Page[LogEntry, LogPlace]:
    """Lines that meet the filter, newest first; with an `after` where there may be more, even if they are fewer than
    `limit`. The lines of a run that has ended stand together, where its end is.
    """
    look = _Look(wanted, limit, await list_names(conn, wanted), after)
    found: list[LogEntry] = []
    place = await _collect(conn, look, after, found)
    return Page(await with_emails(conn, wanted.environment, found), place)


async def _collect(conn: Connection, look: _Look, after: LogPlace | None, found: list[LogEntry]) -> LogPlace | None:
    """Fill `found`; the place behind it when there may be more."""
    place = after
    async for chunk in _list_chunks(conn, look):
        courses = await list_courses(conn, lines=chunk.lines)
        for row in chunk.lines:
            newest_first = unfold(row, courses)[::-1]
            shown = after[2] if after is not None and (row.at, row.id) == after[:2] else 0
            for number, line in enumerate(newest_first[shown:], start=shown + 1):
                if not look.wanted.admits(line):
                    continue
                if len(found) == look.limit:
                    return place
                found.append(line)
                place = (row.at, row.id, number)
        if not chunk.is_last:
            if len(found) == look.limit:
                return place
            if look.is_over:
                return look.place
    return None


async def _list_chunks(conn: Connection, look: _Look) -> AsyncIterator[_Chunk]:
    """Chunks of lines that may be wanted, ever larger ones, the newest first, as long as the caller wants more."""
    way, size = look.wanted.way, look.limit + 2
    while look.wanted.contains is None or way in _FEW or look.looked < _MAX_BY_TIME:
        chunk = await _read(conn, look, LIST_BY[way], look.wanted.since, size)
        yield chunk
        if chunk.is_last:
            return
        size = min(size * _FACTOR, _MAX_SIZE) if chunk.is_sparse else max(size, _MAX_LINES)
        if look.wanted.contains is not None and way not in _FEW:
            size = min(size, max(_MAX_BY_TIME - look.looked, 1))
    async for chunk in _list_by_words(conn, look):
        yield chunk


async def _list_by_words(conn: Connection, look: _Look) -> AsyncIterator[_Chunk]:
    """Chunks found by the index of words. A span that was too long for one lookup is not tried again for this page."""
    span, longest = 0, _WHOLE
    while (start := await _find_start(conn, look, _SPANS[span])) is not None:
        statement, size, is_over = LIST_BY_WORDS, _MAX_BY_WORDS, False
        while not is_over:
            chunk = await _read(conn, look, statement, start, size)
            look.lookups += 1
            if not chunk.is_dense:
                yield chunk._replace(is_last=chunk.is_last and span == _WHOLE)
                is_over = chunk.is_last
            elif span > 0:
                break
            else:
                statement, size = LIST_BY[look.wanted.way], _MAX_SIZE
        if not is_over:
            span = longest = span - 1
        elif span == _WHOLE:
            return
        else:
            look.place, span = (start, 0, 0), longest
    yield _Chunk((), is_last=True)


async def _find_start(conn: Connection, look: _Look, days: int | None) -> datetime | None:
    """Where the days begin that end with the one of the environment's next lines, or where what is wanted begins; None
    when there are no more lines.
    """
    if days is None:
        return look.wanted.since or _EARLIEST
    newest: datetime | None = await conn.fetchval(
        """
        SELECT l.at FROM penstock.logs l
        WHERE l.environment = $1 AND l.at >= coalesce($2::timestamptz, '-infinity')
          AND l.at < coalesce($3::timestamptz, 'infinity') AND (l.at, l.id) <= ($4::timestamptz, $5::bigint)
        ORDER BY l.at DESC, l.id DESC
        LIMIT 1
        """,
        look.wanted.environment,
        look.wanted.since,
        look.wanted.until,
        *(look.place[:2] if look.place else (datetime.max.replace(tzinfo=UTC), _MAX_ID)),
    )
    if newest is None:
        return None
    midnight = newest.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = midnight - timedelta(days=days - 1)
    return start if look.wanted.since is None else max(start, look.wanted.since)


async def _read(conn: Connection, look: _Look, statement: str, since: datetime | None, size: int) -> _Chunk:
    """The lines that may be wanted among the next `size`; the look continues behind them."""
    wanted, place = look.wanted, look.place
    rows = await conn.fetch(
        statement,
        wanted.environment,
        since,
        wanted.until,
        place[0] if place else None,
        place[1] if place else _MAX_ID,
        size,
        max(look.limit + 2, _MAX_LINES),
        *residual(wanted, look.names),
    )
    if not rows:
        return _Chunk((), is_last=True)
    if rows[0]["is_dense"]:
        look.looked += size
        return _Chunk((), is_last=False, is_dense=True)
    last = rows[-1]
    look.looked += last["number"]
    look.place = (last["at"], last["id"] - 1, 0)
    lines = [LogEntry.model_validate(dict(row)) for row in rows if row["is_wanted"]]
    look.read += len(lines)
    is_sparse = len(lines) * _FACTOR < last["number"]
    return _Chunk(lines, is_last=last["number"] == last["looked"] < size, is_sparse=is_sparse)
