"""Leases: claimed runs are renewed, given back, and locked for the writes of one attempt."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from penstock.db import Connection
from penstock.domain.runs import RunSummary
from penstock.runs.summaries import SUMMARY, summary_from_row

_MAX_LOCK_TIMEOUT: Final = 2**31 - 1
Held = tuple[UUID, int]
"""A run and the attempt in which it is held."""


async def renew_leases(conn: Connection, *, held: Sequence[Held], lease: timedelta) -> set[UUID]:
    """Extend the leases of runs that are still held; returns those. Skips rows that a commit of ours has locked."""
    rows = await conn.fetch(
        """
        WITH held AS MATERIALIZED (
            SELECT r.id
            FROM unnest($1::uuid[], $2::int[]) AS q (id, attempt)
            JOIN penstock.runs r ON r.id = q.id AND r.attempt = q.attempt
            WHERE r.state || '' = 'running'
            FOR NO KEY UPDATE OF r SKIP LOCKED
        )
        UPDATE penstock.runs r SET lease_expires_at = clock_timestamp() + $3 FROM held WHERE r.id = held.id
        RETURNING r.id
        """,
        [run_id for run_id, _ in held],
        [attempt for _, attempt in held],
        lease,
    )
    return {row["id"] for row in rows}


async def list_held(conn: Connection, *, held: Sequence[Held]) -> set[UUID]:
    """Those of these runs that are still running in this attempt; waits for nobody."""
    rows = await conn.fetch(
        """
        SELECT r.id
        FROM unnest($1::uuid[], $2::int[]) AS q (id, attempt)
        JOIN penstock.runs r ON r.id = q.id AND r.attempt = q.attempt
        WHERE r.state || '' = 'running'
        """,
        [run_id for run_id, _ in held],
        [attempt for _, attempt in held],
    )
    return {row["id"] for row in rows}


async def release_runs(conn: Connection, *, owner: str) -> list[RunSummary]:
    """Give back all runs that `owner` holds, for others to claim; returns those."""
    rows = await conn.fetch(
        f"""
        UPDATE penstock.runs r
        SET state = 'queued', lease_expires_at = NULL, dispatched_at = clock_timestamp()
        WHERE r.finished_at IS NULL AND r.indexed_state IS NULL AND r.state = 'running' AND r.owner = $1
        RETURNING {SUMMARY}
        """,
        owner,
    )
    return [summary_from_row(row) for row in rows]


async def wait_for_locks(conn: Connection, *, seconds: float, run_id: UUID) -> None:
    """Let this transaction wait that long for rows that others are changing, instead of a few seconds.

    Says, in the same round trip, which run makes its changes: see `penstock.things.changes`.
    """
    await conn.execute(
        "SELECT set_config('lock_timeout', $1, true), set_config('penstock.run_id', $2, true)",
        f"{max(1, min(round(seconds * 1000), _MAX_LOCK_TIMEOUT))}ms",
        str(run_id),
    )


async def hold_runs(conn: Connection, *, held: Sequence[Held]) -> set[Held]:
    """Lock the runs that are still held until the transaction ends, in one order; returns those."""
    rows = await conn.fetch(
        """
        SELECT r.id, r.attempt
        FROM unnest($1::uuid[], $2::int[]) AS q (id, attempt)
        JOIN penstock.runs r ON r.id = q.id AND r.attempt = q.attempt
        WHERE r.state || '' = 'running'
        ORDER BY r.id
        FOR NO KEY UPDATE OF r
        """,
        [run_id for run_id, _ in held],
        [attempt for _, attempt in held],
    )
    return {(row["id"], row["attempt"]) for row in rows}
