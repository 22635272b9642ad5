"""SQL of the management API: the log."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from penstock.db import Connection
from penstock_ingress.repository.views import LogEntry


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which log lines; None does not matter. `levels` are the level asked for and the worse ones."""

    run_id: UUID | None
    chain_id: UUID | None
    levels: tuple[str, ...] | None
    since: datetime | None
    until: datetime | None
    contains: str | None


async def list_logs(
    conn: Connection, *, environment: str, wanted: LogFilter, after: tuple[datetime, int] | None, limit: int
) -> list[LogEntry]:
    """Lines that meet the filter, newest first, those behind the place `after`."""
    rows = await conn.fetch(
        """
        SELECT l.id, l.at, l.environment, l.level, l.event, l.message, l.run_id, l.chain_id, l.workflow, l.step,
               l.depth, l.details
        FROM penstock.logs l
        WHERE l.environment = $1
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
        environment,
        wanted.run_id,
        wanted.chain_id,
        wanted.levels,
        wanted.since,
        wanted.until,
        wanted.contains,
        after[0] if after else None,
        after[1] if after else None,
        limit,
    )
    return [LogEntry.model_validate(dict(row)) for row in rows]


async def list_run_logs(conn: Connection, *, run_id: UUID, limit: int) -> list[LogEntry]:
    """The newest lines of one run, the oldest of them first."""
    rows = await conn.fetch(
        """
        SELECT id, at, environment, level, event, message, run_id, chain_id, workflow, step, depth, details
        FROM penstock.logs
        WHERE run_id = $1
        ORDER BY at DESC, id DESC
        LIMIT $2
        """,
        run_id,
        limit,
    )
    return [LogEntry.model_validate(dict(row)) for row in reversed(rows)]
