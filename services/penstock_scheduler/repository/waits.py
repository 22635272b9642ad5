"""Runs whose wait is over by the clock. Every statement skips rows that another scheduler holds."""

from collections.abc import Sequence
from uuid import UUID

from penstock.db import Connection
from penstock.domain.runs import RunSummary
from penstock.runs.summaries import SUMMARY, summary_from_row


async def lock_due_waits(conn: Connection, *, most: int) -> list[tuple[UUID, bool, bool]]:
    """Lock the runs that have waited long enough, until the transaction ends; with each, whether its chain was
    stopped, and whether it is paused.
    """
    rows = await conn.fetch(
        """
        SELECT r.id, EXISTS (SELECT FROM penstock.chains c WHERE c.id = r.chain_id
               AND c.stopped_at IS NOT NULL) AS is_stopped,
               (SELECT e.has_pauses FROM penstock.environments e WHERE e.name = r.environment)
                   AND penstock.find_pause(r.environment, r.workflow, r.chain_id, r.list_id, w.until) IS NOT NULL
                   AS is_paused
        FROM penstock.waits w
        JOIN penstock.runs r ON r.id = w.run_id
        WHERE w.until <= statement_timestamp() AND w.parked_at IS NULL AND r.state || '' = 'waiting'
        ORDER BY w.until
        LIMIT $1
        FOR UPDATE OF r, w SKIP LOCKED
        """,
        most,
    )
    return [(row["id"], row["is_stopped"], row["is_paused"]) for row in rows]


async def park_waits(conn: Connection, *, run_ids: Sequence[UUID]) -> None:
    """Hold back runs that have waited long enough and are paused; this transaction has locked them."""
    await conn.execute(
        "UPDATE penstock.waits SET parked_at = clock_timestamp() WHERE run_id = ANY($1::uuid[])", run_ids
    )


async def find_next_wake(conn: Connection) -> float | None:
    """Seconds until the next wait is over, by the database's clock; below 0 when overdue, None when no wait ends by
    itself.
    """
    seconds: float | None = await conn.fetchval(
        "SELECT extract(epoch FROM min(until) - clock_timestamp())::float8 FROM penstock.waits WHERE until IS NOT "
        "NULL AND parked_at IS NULL"
    )
    return seconds


async def terminate_waiting(conn: Connection, *, run_ids: Sequence[UUID]) -> list[RunSummary]:
    """Terminate waiting runs that this transaction has locked; returns them."""
    rows = await conn.fetch(
        f"""
        UPDATE penstock.runs r
        SET state = 'terminated', finished_at = clock_timestamp()
        WHERE r.id = ANY($1::uuid[]) AND r.state || '' = 'waiting'
        RETURNING {SUMMARY}
        """,
        run_ids,
    )
    return [summary_from_row(row) for row in rows]
