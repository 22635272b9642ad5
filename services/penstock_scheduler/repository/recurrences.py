"""Recurrences whose next tick is due. A row is locked while its tick is decided, so that none is decided twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from penstock.db import Connection
from penstock.domain.recurrences import Recurrence
from penstock.domain.states import FINAL_STATES
from penstock.runs.recurrences.rows import COLUMNS, recurrence_from_row


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a recurrence stands after its due ticks were decided. `run_id` and `tick_at` are those of the last run
    made, if any; `used` is how many ticks count towards `times`.
    """

    id: UUID
    next_tick_at: datetime | None
    due_at: datetime | None
    held_since: datetime | None
    tick_at: datetime | None = None
    run_id: UUID | None = None
    ticks: int = 0
    skipped: int = 0
    missed: int = 0
    refused: int = 0
    used: int = 0


async def park_paused(conn: Connection, *, most: int) -> None:
    """Hold back recurrences that are due while their workflow or environment is paused."""
    await conn.execute(
        """
        WITH found AS MATERIALIZED (
            SELECT c.id FROM penstock.recurrences c
            JOIN penstock.environments e ON e.name = c.environment AND e.has_pauses
            WHERE c.due_at <= statement_timestamp() AND c.parked_at IS NULL
              AND penstock.find_pause(c.environment, c.workflow, NULL, NULL, c.due_at) IS NOT NULL
            LIMIT $1
            FOR NO KEY UPDATE OF c SKIP LOCKED
        )
        UPDATE penstock.recurrences c SET parked_at = clock_timestamp() FROM found f WHERE c.id = f.id
        """,
        most,
    )


async def claim_due_recurrences(conn: Connection, *, most: int, only: Sequence[UUID] | None = None) -> list[Recurrence]:
    """Lock recurrences that are due (or `only` those of them), the longest due first; skips those that another
    scheduler holds, and those that are paused.
    """
    rows = await conn.fetch(
        f"""
        SELECT {COLUMNS}
        FROM penstock.recurrences c
        WHERE c.due_at <= statement_timestamp() AND c.parked_at IS NULL AND ($2::uuid[] IS NULL OR c.id = ANY($2))
          AND NOT ((SELECT e.has_pauses FROM penstock.environments e WHERE e.name = c.environment)
                   AND penstock.find_pause(c.environment, c.workflow, NULL, NULL, c.due_at) IS NOT NULL)
        ORDER BY c.due_at
        LIMIT $1
        FOR UPDATE OF c SKIP LOCKED
        """,
        most,
        only,
    )
    return [recurrence_from_row(row) for row in rows]


async def list_live(conn: Connection, *, run_ids: Sequence[UUID]) -> set[UUID]:
    """The runs that have not ended. To be called with the recurrences locked, so that no new run is missed."""
    rows = await conn.fetch(
        "SELECT id FROM penstock.runs WHERE id = ANY($1::uuid[]) AND NOT state = ANY($2::text[])",
        run_ids,
        [state.value for state in FINAL_STATES],
    )
    return {row["id"] for row in rows}


async def move_on(conn: Connection, *, progress: Sequence[Progress]) -> None:
    """Note where recurrences stand now; in the transaction that locked them and admitted their runs."""
    await conn.execute(
        """
        UPDATE penstock.recurrences c
        SET next_tick_at = q.next_tick_at, due_at = q.due_at, held_since = q.held_since, ticks = c.ticks + q.ticks,
            last_tick_at = coalesce(q.tick_at, c.last_tick_at), last_run_id = coalesce(q.run_id, c.last_run_id),
            skipped = c.skipped + q.skipped, missed = c.missed + q.missed, refused = c.refused + q.refused,
            owed_since = CASE WHEN q.held_since IS NOT NULL OR q.due_at <= clock_timestamp() THEN c.owed_since END,
            ticks_left = c.ticks_left - q.used
        FROM unnest(
            $1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::uuid[],
            $7::int[], $8::int[], $9::int[], $10::int[], $11::int[]
        ) AS q (id, next_tick_at, due_at, held_since, tick_at, run_id, ticks, skipped, missed, refused, used)
        WHERE c.id = q.id
        """,
        [step.id for step in progress],
        [step.next_tick_at for step in progress],
        [step.due_at for step in progress],
        [step.held_since for step in progress],
        [step.tick_at for step in progress],
        [step.run_id for step in progress],
        [step.ticks for step in progress],
        [step.skipped for step in progress],
        [step.missed for step in progress],
        [step.refused for step in progress],
        [step.used for step in progress],
    )


async def postpone(conn: Connection, *, id: UUID, by: timedelta) -> None:
    """Look at a recurrence again later: its tick cannot be decided now."""
    await conn.execute(
        "UPDATE penstock.recurrences SET due_at = clock_timestamp() + $2 WHERE id = $1 AND due_at IS NOT NULL",
        id,
        by,
    )


async def find_next_tick_due(conn: Connection) -> float | None:
    """Seconds until the next tick is due, by the database's clock (below 0: it is already); None when there is none."""
    seconds: float | None = await conn.fetchval(
        "SELECT extract(epoch FROM min(due_at) - clock_timestamp())::float8 FROM penstock.recurrences WHERE due_at IS "
        "NOT NULL AND parked_at IS NULL"
    )
    return seconds
