"""SQL: the runs that meet an operation's filter, among those that have not ended, that have failed, or that wait for
their time. Each reads only the partial index of its states: what has ended long ago is never looked through.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from penstock.db import Connection
from penstock.domain.schedule import ScheduleFilter
from penstock.runs.views.finding import RunFilter

_LIVE: Final = """
    FROM (
        SELECT s.id FROM penstock.runs s WHERE s.indexed_state = 'scheduled'
        UNION ALL SELECT h.id FROM penstock.runs h WHERE h.finished_at IS NULL AND h.indexed_state IS NULL
        UNION ALL SELECT w.run_id FROM penstock.waits w
    ) live
    -- One by one, since the planner would read all runs, also those that have ended, once for all.
    CROSS JOIN LATERAL (SELECT r.* FROM penstock.runs r WHERE r.id = live.id OFFSET 0) r
    WHERE r.environment = $1
    """
_FAILED: Final = "FROM penstock.runs r WHERE r.indexed_state = 'failed' AND r.environment = $1"
_MEETS: Final = """
    AND ($2::text IS NULL OR r.workflow = $2)
    AND ($3::text[] IS NULL OR r.state || '' = ANY($3))
    AND ($4::uuid IS NULL OR r.chain_id = $4)
    AND ($5::uuid IS NULL OR r.parent_run_id = $5)
    AND ($6::timestamptz IS NULL OR r.created_at >= $6)
    AND ($7::timestamptz IS NULL OR r.created_at < $7)
    AND ($8::text IS NULL
         OR strpos(lower(concat_ws(' ', r.parameters::text, r.result::text, r.error::text)), lower($8)) > 0)
    AND ($9::uuid IS NULL OR r.list_id = $9)
    """


async def count_live(conn: Connection, of: RunFilter) -> int:
    """How many runs that have not ended meet the filter."""
    count: int = await conn.fetchval(f"SELECT count(*) {_LIVE} {_MEETS}", *_arguments(of))
    return count


async def list_live(conn: Connection, of: RunFilter, *, before: datetime, most: int) -> list[UUID]:
    """Some of those that were there before that time."""
    rows = await conn.fetch(
        f"SELECT r.id {_LIVE} {_MEETS} AND r.created_at <= $10 LIMIT $11", *_arguments(of), before, most
    )
    return [row["id"] for row in rows]


async def count_failed(conn: Connection, of: RunFilter) -> int:
    """How many runs that have failed meet the filter."""
    count: int = await conn.fetchval(f"SELECT count(*) {_FAILED} {_MEETS}", *_arguments(of))
    return count


async def list_failed(conn: Connection, of: RunFilter, *, before: datetime, most: int) -> list[UUID]:
    """Some of those that had failed before that time, the oldest first."""
    rows = await conn.fetch(
        f"SELECT r.id {_FAILED} {_MEETS} AND r.finished_at <= $10 ORDER BY r.created_at LIMIT $11",
        *_arguments(of),
        before,
        most,
    )
    return [row["id"] for row in rows]


async def list_next_failed(
    conn: Connection, of: RunFilter, *, before: datetime, reached: tuple[datetime, UUID] | None, most: int
) -> list[tuple[datetime, UUID]]:
    """The next of those that had failed before that time, the oldest first: some of them may have to stay as they
    are.
    """
    rows = await conn.fetch(
        f"""
        SELECT r.created_at, r.id {_FAILED} {_MEETS}
          AND r.finished_at <= $10 AND r.created_at >= coalesce($11::timestamptz, '-infinity')
          AND ($11::timestamptz IS NULL OR (r.created_at, r.id) > ($11, $12::uuid))
        ORDER BY r.created_at, r.id
        LIMIT $13
        """,
        *_arguments(of),
        before,
        *(reached or (None, None)),
        most,
    )
    return [(row["created_at"], row["id"]) for row in rows]


async def count_upcoming(conn: Connection, of: ScheduleFilter) -> int:
    """How many runs that wait for their time meet the filter."""
    count: int = await conn.fetchval(
        """
        SELECT (SELECT count(*) FROM penstock.runs r
                WHERE r.indexed_state = 'scheduled' AND r.environment = $1
                  AND ($2::text IS NULL OR r.workflow = $2)
                  AND ($3::timestamptz IS NULL OR r.scheduled_at >= $3)
                  AND ($4::timestamptz IS NULL OR r.scheduled_at < $4)
                  AND ($5::uuid IS NULL OR r.list_id = $5)
                  AND ($6::uuid IS NULL OR r.chain_id = $6))
             + (SELECT count(*) FROM penstock.waits w
                CROSS JOIN LATERAL (SELECT r.* FROM penstock.runs r WHERE r.id = w.run_id OFFSET 0) r
                WHERE w.until IS NOT NULL AND w.environment = $1 AND r.state || '' = 'waiting'
                  AND ($2::text IS NULL OR r.workflow = $2)
                  AND ($3::timestamptz IS NULL OR w.until >= $3)
                  AND ($4::timestamptz IS NULL OR w.until < $4)
                  AND ($5::uuid IS NULL OR r.list_id = $5)
                  AND ($6::uuid IS NULL OR r.chain_id = $6))
        """,
        of.environment,
        of.workflow,
        of.since,
        of.until,
        of.list_id,
        of.chain_id,
    )
    return count


async def list_upcoming(conn: Connection, of: ScheduleFilter, *, before: datetime, most: int) -> list[UUID]:
    """Some of those that were there before that time, in the order in which they are due."""
    rows = await conn.fetch(
        """
        SELECT q.id FROM (
            (SELECT r.id, r.scheduled_at AS at FROM penstock.runs r
             WHERE r.indexed_state = 'scheduled' AND r.environment = $1 AND r.created_at <= $8
               AND ($2::text IS NULL OR r.workflow = $2)
               AND ($3::timestamptz IS NULL OR r.scheduled_at >= $3)
               AND ($4::timestamptz IS NULL OR r.scheduled_at < $4)
               AND ($5::uuid IS NULL OR r.list_id = $5)
               AND ($6::uuid IS NULL OR r.chain_id = $6)
             ORDER BY r.scheduled_at LIMIT $7)
            UNION ALL
            (SELECT r.id, w.until FROM penstock.waits w
             CROSS JOIN LATERAL (SELECT r.* FROM penstock.runs r WHERE r.id = w.run_id OFFSET 0) r
             WHERE w.until IS NOT NULL AND w.environment = $1 AND r.state || '' = 'waiting'
               AND r.created_at <= $8
               AND ($2::text IS NULL OR r.workflow = $2)
               AND ($3::timestamptz IS NULL OR w.until >= $3)
               AND ($4::timestamptz IS NULL OR w.until < $4)
               AND ($5::uuid IS NULL OR r.list_id = $5)
               AND ($6::uuid IS NULL OR r.chain_id = $6)
             ORDER BY w.until LIMIT $7)
        ) q
        ORDER BY q.at LIMIT $7
        """,
        of.environment,
        of.workflow,
        of.since,
        of.until,
        of.list_id,
        of.chain_id,
        most,
        before,
    )
    return [row["id"] for row in rows]


def _arguments(of: RunFilter) -> Sequence[object]:
    return (
        of.environment,
        of.workflow,
        None if of.states is None else [str(state) for state in of.states],
        of.chain_id,
        of.parent_run_id,
        of.since,
        of.until,
        of.contains,
        of.list_id,
    )
