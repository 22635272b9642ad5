"""Leases that have expired: found among the runs that were handed to executors, in parts of them, and taken back."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from penstock.db import Connection
from penstock.domain.runs import RunSummary
from penstock.runs.summaries import SUMMARY, summary_from_row

FRONT: Final = 1000
"""Executors take runs about in the order in which they were queued. So those that run are mostly among the first of all
that were handed out, however many wait behind them.
"""


class Looked(NamedTuple):
    """The runs of a part whose lease has expired, how many runs it has, and the dispatch from which on the next part
    begins; None when it was the last one.
    """

    expired: list[UUID]
    runs: int
    next_since: datetime | None


async def find_expired(conn: Connection, *, since: datetime | None, most: int) -> Looked:
    """Look for expired leases among the next `most` runs that were dispatched at `since` or later; None: the first.

    No index has the leases, since each renewal would write it. Locks nothing.
    """
    row = await conn.fetchrow(
        """
        WITH looked AS MATERIALIZED (
            (SELECT r.id, r.dispatched_at, r.state, r.lease_expires_at FROM penstock.runs r
             WHERE r.finished_at IS NULL AND r.indexed_state IS NULL
               AND r.dispatched_at >= coalesce($1::timestamptz, '-infinity')
             ORDER BY r.dispatched_at LIMIT $2)
            UNION ALL
            (SELECT r.id, NULL, r.state, r.lease_expires_at FROM penstock.runs r
             WHERE r.finished_at IS NULL AND r.indexed_state IS NULL AND r.dispatched_at IS NULL
             LIMIT $2)
        )
        SELECT ARRAY(
                   SELECT l.id FROM looked l WHERE l.state = 'running' AND l.lease_expires_at < statement_timestamp()
               ) AS expired,
               count(*) AS runs,
               CASE WHEN count(l.dispatched_at) < $2 THEN NULL
                    WHEN max(l.dispatched_at) = $1 THEN $1 + interval '1 microsecond'
                    ELSE max(l.dispatched_at) END AS next_since
        FROM looked l
        """,
        since,
        most,
    )
    assert row is not None, "a statement of aggregates has a row"
    return Looked(*row)


async def reap_leases(
    conn: Connection, *, run_ids: Sequence[UUID], most_crashes: int, message: str
) -> list[RunSummary]:
    """Take those of these runs whose lease has expired: `queued` again, or `failed` with `message` at crash number
    `most_crashes`. Skips rows that another scheduler takes.

    An attempt that has finished a step has made progress: its crash is the first again.
    """
    rows = await conn.fetch(
        f"""
        WITH expired AS MATERIALIZED (
            SELECT r.id, c.crashes, c.crashes >= $1 AS is_spent
            FROM penstock.runs r
            CROSS JOIN LATERAL (
                SELECT CASE WHEN EXISTS (
                    SELECT FROM penstock.steps s WHERE s.run_id = r.id AND s.attempt = r.attempt
                           AND s.outcome <> 'failed'
                ) THEN 1 ELSE r.crashes + 1 END AS crashes
            ) c
            WHERE r.id = ANY((SELECT $3::uuid[])::uuid[])
              AND r.state = 'running' AND r.lease_expires_at < statement_timestamp()
            ORDER BY r.lease_expires_at
            FOR UPDATE OF r SKIP LOCKED
        )
        UPDATE penstock.runs r
        SET state = CASE WHEN e.is_spent THEN 'failed' ELSE 'queued' END,
            indexed_state = CASE WHEN e.is_spent THEN 'failed' END,
            crashes = e.crashes,
            owner = NULL,
            lease_expires_at = NULL,
            dispatched_at = clock_timestamp(),
            finished_at = CASE WHEN e.is_spent THEN clock_timestamp() END,
            error = CASE WHEN e.is_spent THEN jsonb_build_object('kind', 'crashed', 'message', $2::text)
                ELSE r.error END
        FROM expired e
        WHERE r.id = e.id AND r.state = 'running'
        RETURNING {SUMMARY}
        """,
        most_crashes,
        message,
        run_ids,
    )
    return [summary_from_row(row) for row in rows]
