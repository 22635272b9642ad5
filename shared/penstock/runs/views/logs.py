"""SQL of what is shown of the log, which `penstock.store.logs` writes."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from penstock.db import Connection
from penstock.runs.views.models import LogEntry
from penstock.runs.views.pages import Page, make_page

LogPlace = tuple[datetime, int]


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


async def list_logs(
    conn: Connection, wanted: LogFilter, *, after: LogPlace | None, limit: int
) -> Page[LogEntry, LogPlace]:
    """Lines that meet the filter, newest first."""
    rows = await conn.fetch(
        """
        SELECT l.id, l.at, l.environment, l.level, l.event, l.message, l.run_id, l.chain_id, l.workflow, l.step,
               l.depth, l.details
        FROM penstock.logs l
        WHERE ($1::text IS NULL OR l.environment = $1)
          AND ($2::uuid IS NULL OR l.run_id = $2)
          AND ($3::uuid IS NULL OR l.chain_id = $3)
          AND ($4::text[] IS NULL OR l.level = ANY($4))
          AND ($5::timestamptz IS NULL OR l.at >= $5)
          AND ($6::timestamptz IS NULL OR l.at < $6)
          AND ($7::text IS NULL OR strpos(lower(concat_ws(' ', l.event, l.message, l.workflow, l.step)), lower($7)) > 0)
          AND ($8::timestamptz IS NULL OR (l.at, l.id) < ($8, $9::bigint))
        ORDER BY l.at DESC, l.id DESC
        LIMIT $10
        """,
        wanted.environment,
        wanted.run_id,
        wanted.chain_id,
        wanted.levels,
        wanted.since,
        wanted.until,
        wanted.contains,
        after[0] if after else None,
        after[1] if after else None,
        limit + 1,
    )
    return make_page([LogEntry.model_validate(dict(row)) for row in rows], limit, lambda line: (line.at, line.id))


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
    found: defaultdict[UUID, list[LogEntry]] = defaultdict(list)
    for row in rows:
        found[row["run_id"]].append(LogEntry.model_validate(dict(row)))
    return found
