"""The log of single runs."""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from penstock.db import Connection
from penstock.runs.views.logs.unfolding import list_courses, rank, unfold
from penstock.runs.views.models import LogEntry


async def list_run_logs(
    conn: Connection, *, run_ids: Sequence[UUID], limit: int | None
) -> defaultdict[UUID, list[LogEntry]]:
    """The newest `limit` lines of each run (None: all), by run, the oldest of them first."""
    rows = await conn.fetch(
        """
        SELECT l.id, l.at, l.environment, l.level, l.event, l.message, l.run_id, l.chain_id, l.workflow, l.step,
               l.depth, l.details, l.user_id
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
        unfolded.sort(key=rank)
        found[run_id] = unfolded if limit is None else unfolded[-limit:]
    return found
