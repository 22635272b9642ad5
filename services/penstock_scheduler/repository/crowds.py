"""Runs of large chains and lists, which take turns; `penstock_scheduler.loops.sharing` has the whole story."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from penstock.db import Connection, Record
from penstock.domain.runs import RunSummary
from penstock.runs.summaries import summary_from_row
from penstock_scheduler.repository.runs import CROWDS, QUEUE_DUE


class Crowd(NamedTuple):
    """A chain or list with runs that have not been handed over; the first of them is due in `due_seconds`."""

    id: UUID
    due_seconds: float


_LIST: Final = f"""
    WITH RECURSIVE {CROWDS}
    SELECT c.crowd, extract(epoch FROM c.scheduled_at - statement_timestamp())::float8 AS due_seconds FROM crowds c
    """
# A crowd whose share is used up costs the count of its share. Priority counts among those of a crowd that are due
# longest, half a thousand more than there is room for.
_SHARE: Final = f"""
    WITH room AS MATERIALIZED (
        SELECT q.crowd, $2 - (
            SELECT count(*) FROM (
                SELECT FROM penstock.runs r
                WHERE r.crowd = q.crowd AND r.finished_at IS NULL AND r.indexed_state IS NULL AND r.state = 'queued'
                LIMIT $2
            ) t
        ) AS free
        FROM unnest((SELECT $1::uuid[])) AS q (crowd)
    ), front AS MATERIALIZED (
        SELECT f.id
        FROM room c
        CROSS JOIN LATERAL (
            SELECT d.id, row_number() OVER (ORDER BY d.priority, d.scheduled_at) AS place
            FROM (
                SELECT r.id, r.priority, r.scheduled_at FROM penstock.runs r
                WHERE r.indexed_state || '' = 'scheduled' AND r.parked_at IS NULL AND r.crowd = c.crowd
                  AND r.scheduled_at <= statement_timestamp()
                ORDER BY r.scheduled_at
                LIMIT CASE WHEN c.free > 0 THEN c.free + 500 ELSE 0 END
            ) d
            ORDER BY d.priority, d.scheduled_at
            LIMIT greatest(c.free, 0) OFFSET 0
        ) f
        ORDER BY f.place
        LIMIT $3
    ), due AS MATERIALIZED (
        SELECT r.id
        FROM penstock.runs r
        WHERE r.id = ANY(ARRAY(SELECT f.id FROM front f)) AND r.state = (SELECT 'scheduled') AND r.parked_at IS NULL
        FOR UPDATE OF r SKIP LOCKED
    )
    {QUEUE_DUE}
    """


async def list_crowds(conn: Connection, *, after: UUID | None, most: int) -> list[Crowd]:
    """Up to `most` crowds with runs that have not been handed over, in order of their ids."""
    return [Crowd(*row) for row in await conn.fetch(_LIST, after, most)]


async def count_running(conn: Connection, *, most: int) -> int:
    """How many runs are performed now, of the `most` that were handed to executors first."""
    count: int = await conn.fetchval(
        """
        SELECT count(*) FROM (
            SELECT r.state FROM penstock.runs r WHERE r.finished_at IS NULL AND r.indexed_state IS NULL
            ORDER BY r.dispatched_at LIMIT $1
        ) h WHERE h.state = 'running'
        """,
        most,
    )
    return count


async def share_out_runs(conn: Connection, *, crowds: Sequence[UUID], share: int, most: int) -> list[RunSummary]:
    """Make up to `most` due runs of these crowds `queued`, as many of each as `share` leaves room for beside those that
    are queued already; as in `dispatch_due_runs`, those of a stopped chain become `terminated`, and paused ones are
    parked. The first of each crowd come before the second ones.
    """
    rows = await conn.fetch(_SHARE, crowds, share, most)
    places: Counter[UUID] = Counter()
    placed: list[tuple[int, Record]] = []
    for row in sorted(rows, key=lambda row: (row["priority"], row["scheduled_at"], row["id"])):
        places[row["crowd"]] += 1
        placed.append((places[row["crowd"]], row))
    return [summary_from_row(row) for _, row in sorted(placed, key=lambda place: place[0])]
