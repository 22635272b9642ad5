"""What is shown of the log, which `penstock.store.logs` writes: lines of all, and those of a run."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from penstock.db import Connection
from penstock.runs.views.models import LogEntry
from penstock.runs.views.pages import Page
from penstock.runs.views.unfolding import ENDS, list_courses, unfold

LogPlace = tuple[datetime, int, int]
"""Time and id of a stored line, and how many of the lines that it stands for were shown."""
_DERIVED: Final = "running event event condition passed"


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which log lines; None does not matter. `levels` are the level asked for and the worse ones."""

    environment: str | None = None
    run_id: UUID | None = None
    chain_id: UUID | None = None
    levels: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    contains: str | None = None

    def admits(self, line: LogEntry) -> bool:
        """Whether a line that was unfolded is wanted; its run is."""
        text = " ".join(part for part in (line.event, line.message, line.workflow, line.step) if part)
        return (
            (self.levels is None or line.level in self.levels)
            and (self.since is None or line.at >= self.since)
            and (self.until is None or line.at < self.until)
            and (self.contains is None or self.contains.lower() in text.lower())
        )


# Each environment's lines stand in the index in their order; those of both are merged.
LIST_LINES: Final = """
    SELECT l.*
    FROM penstock.environments e
    CROSS JOIN LATERAL (
        SELECT l.id, l.at, l.environment, l.level, l.event, l.message, l.run_id, l.chain_id, l.workflow, l.step,
               l.depth, l.details
        FROM penstock.logs l
        WHERE l.environment = e.name
          AND ($2::uuid IS NULL OR l.run_id = $2)
          AND ($3::uuid IS NULL OR l.chain_id = $3)
          AND ($4::text[] IS NULL OR l.level = ANY($4))
          AND l.at >= coalesce($5::timestamptz, '-infinity')
          AND l.at < coalesce($6::timestamptz, 'infinity')
          AND ($7::text IS NULL OR strpos(lower(concat_ws(' ', l.event, l.message, l.workflow, l.step)), lower($7)) > 0
               OR (l.event = ANY($11::text[]) AND (
                   strpos(lower($12 || ' ' || l.workflow), lower($7)) > 0
                   OR EXISTS (
                       SELECT FROM penstock.steps s
                       WHERE s.run_id = l.run_id
                         AND strpos(lower(concat_ws(' ', 'action completed', s.action, l.workflow, s.step)), lower($7))
                             > 0
                   ))))
          AND l.at <= coalesce($8::timestamptz, 'infinity')
          AND ($8::timestamptz IS NULL OR (l.at, l.id) <= ($8, $9::bigint))
        ORDER BY l.at DESC, l.id DESC
        LIMIT $10
    ) l
    WHERE ($1::text IS NULL OR e.name = $1)
    ORDER BY l.at DESC, l.id DESC
    LIMIT $10
    """
# The sum keeps the planner from reading all lines by time to find those of one run.
LIST_LINES_OF_RUN: Final = LIST_LINES.replace(
    """ORDER BY l.at DESC, l.id DESC
        LIMIT""",
    """AND l.run_id = $2
        ORDER BY l.at + interval '0' DESC, l.id DESC
        LIMIT""",
)


async def list_logs(
    conn: Connection, wanted: LogFilter, *, after: LogPlace | None, limit: int
) -> Page[LogEntry, LogPlace]:
    """Lines that meet the filter, newest first. The lines of a run that has ended stand together, where its end is."""
    rows = await _list_rows(conn, wanted, after, limit)
    courses = await list_courses(conn, lines=rows)
    results: list[LogEntry] = []
    place: LogPlace | None = None
    for row in rows:
        newest_first = unfold(row, courses)[::-1]
        is_begun = after is not None and (row.at, row.id) == after[:2]
        for number, line in enumerate(newest_first, start=1):
            if (is_begun and after is not None and number <= after[2]) or not wanted.admits(line):
                continue
            if len(results) == limit:
                return Page(results, place)
            results.append(line)
            place = (row.at, row.id, number)
    is_more = len(rows) > limit + 1
    return Page(results, (rows[-1].at, rows[-1].id, len(unfold(rows[-1], courses))) if is_more else None)


async def _list_rows(conn: Connection, wanted: LogFilter, after: LogPlace | None, limit: int) -> list[LogEntry]:
    """The stored lines of a page, from the one at `after` on, and one more."""
    rows = await conn.fetch(
        LIST_LINES if wanted.run_id is None else LIST_LINES_OF_RUN,
        wanted.environment,
        wanted.run_id,
        wanted.chain_id,
        wanted.levels,
        wanted.since,
        wanted.until,
        wanted.contains,
        after[0] if after else None,
        after[1] if after else None,
        limit + 2,
        list(ENDS),
        _DERIVED,
    )
    return [LogEntry.model_validate(dict(row)) for row in rows]


async def list_run_logs(
    conn: Connection, *, run_ids: Sequence[UUID], limit: int | None
) -> defaultdict[UUID, list[LogEntry]]:
    """The newest `limit` lines of each run (None: all), by run, the oldest of them first."""
    rows = await conn.fetch(
        """
        SELECT l.id, l.at, l.environment, l.level, l.event, l.message, l.run_id, l.chain_id, l.workflow, l.step,
               l.depth, l.details
        FROM unnest($1::uuid[]) AS q (run_id)
        CROSS JOIN LATERAL (
            SELECT n.* FROM penstock.logs n WHERE n.run_id = q.run_id ORDER BY n.at DESC, n.id DESC LIMIT $2
        ) l
        ORDER BY l.at, l.id
        """,
        run_ids,
        limit,
    )
    lines = [LogEntry.model_validate(dict(row)) for row in rows]
    courses = await list_courses(conn, lines=lines)
    found: defaultdict[UUID, list[LogEntry]] = defaultdict(list)
    for line in lines:
        assert line.run_id is not None, "selected by it"
        found[line.run_id] += unfold(line, courses)
    for run_id, unfolded in found.items():
        unfolded.sort(key=_order)
        found[run_id] = unfolded if limit is None else unfolded[-limit:]
    return found


def _order(line: LogEntry) -> tuple[datetime, int]:
    """By time; a run begins before all else of its first moment, and ends after all else of its last."""
    ranks = {"running event": 0, "event condition passed": 1}
    return line.at, 3 if line.event in ENDS else ranks.get(line.event, 2)
