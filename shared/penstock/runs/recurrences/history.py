"""What became of the last ticks of each recurrence, and recurrences that fail again and again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from pydantic import JsonValue

from penstock import clock
from penstock.db import Connection, Record
from penstock.domain.notices import NoticeKind
from penstock.domain.states import RunState
from penstock.runs.views.pages import Page, make_page
from penstock.store.logs import LogEvent, LogLine, write_logs
from penstock.store.notices import Notice, request_notices

KEPT_TICKS: Final = 100
"""This many ticks of each recurrence are kept."""
RECURRENCE_PAUSED: Final = "recurrence_paused"
"""The kind of the notification that a recurrence was paused because it failed."""
Outcome = Literal["started", "skipped", "missed", "dropped", "refused"]


@dataclass(frozen=True, slots=True)
class Tick:
    """What became of a tick. `reason` says why it has no run; `run_state` is known when it is read."""

    recurrence_id: UUID
    tick_at: datetime
    outcome: Outcome
    run_id: UUID | None = None
    reason: str | None = None
    decided_at: datetime | None = None
    run_state: RunState | None = None


async def record_ticks(conn: Connection, ticks: Sequence[Tick]) -> None:
    """Keep what became of ticks; of a tick that was decided before, the last word."""
    if not ticks:
        return
    await conn.execute(
        """
        INSERT INTO penstock.recurrence_ticks AS t (recurrence_id, tick_at, outcome, run_id, reason)
        SELECT q.recurrence_id, q.tick_at, q.outcome, q.run_id, q.reason
        FROM jsonb_to_recordset($1) AS q (
            recurrence_id uuid, tick_at timestamptz, outcome text, run_id uuid, reason text
        )
        ON CONFLICT (recurrence_id, tick_at) DO UPDATE
            SET outcome = EXCLUDED.outcome, run_id = EXCLUDED.run_id, reason = EXCLUDED.reason,
                decided_at = EXCLUDED.decided_at
        """,
        [
            {
                "recurrence_id": str(tick.recurrence_id), "tick_at": tick.tick_at, "outcome": tick.outcome,
                "run_id": None if tick.run_id is None else str(tick.run_id), "reason": tick.reason,
            }
            for tick in ticks
        ],
    )  # fmt: skip


async def list_ticks(
    conn: Connection, *, recurrence_id: UUID, after: datetime | None, limit: int
) -> Page[Tick, datetime]:
    """The last ticks of a recurrence, newest first, each with the state of its run."""
    rows = await conn.fetch(
        """
        SELECT t.recurrence_id, t.tick_at, t.outcome, t.run_id, t.reason, t.decided_at,
               coalesce(r.state, t.run_state) AS run_state
        FROM penstock.recurrence_ticks t
        LEFT JOIN penstock.runs r ON r.id = t.run_id
        WHERE t.recurrence_id = $1 AND ($2::timestamptz IS NULL OR t.tick_at < $2)
        ORDER BY t.tick_at DESC
        LIMIT $3
        """,
        recurrence_id,
        after,
        limit + 1,
    )
    ticks = [_from_row(row) for row in rows]
    return make_page(ticks, limit, lambda tick: tick.tick_at)


def _from_row(row: Record) -> Tick:
    return Tick(
        row["recurrence_id"],
        row["tick_at"],
        row["outcome"],
        row["run_id"],
        row["reason"],
        row["decided_at"],
        None if row["run_state"] is None else RunState(row["run_state"]),
    )


async def delete_old_ticks(conn: Connection, *, most: int) -> int:
    """Forget all but the last KEPT_TICKS ticks of each recurrence; how many."""
    status = await conn.execute(
        """
        WITH old AS MATERIALIZED (
            SELECT n.place FROM penstock.recurrences c
            CROSS JOIN LATERAL (
                SELECT t.ctid AS place FROM penstock.recurrence_ticks t
                WHERE t.recurrence_id = c.id ORDER BY t.tick_at DESC OFFSET $1
            ) n
            LIMIT $2
        )
        DELETE FROM penstock.recurrence_ticks WHERE ctid = ANY(ARRAY(SELECT place FROM old))
        """,
        KEPT_TICKS,
        most,
    )
    return int(status.split()[-1])


async def pause_failing(conn: Connection, *, most: int) -> int:
    """Pause recurrences whose last runs failed, as many in a row as each allows; log it, and have the admins notified.
    To be called in a transaction. Returns how many.

    A run that was terminated has failed, and so has a tick that could not start its run; a cancelled run counts
    as neither.
    """
    rows = await conn.fetch(
        """
        WITH failing AS MATERIALIZED (
            SELECT c.id
            FROM penstock.recurrences c
            CROSS JOIN LATERAL (
                SELECT count(*) FILTER (WHERE q.has_failed) AS failures FROM (
                    SELECT t.outcome = 'refused' OR s.state IN ('failed', 'terminated') AS has_failed
                    FROM penstock.recurrence_ticks t
                    LEFT JOIN penstock.runs r ON r.id = t.run_id
                    CROSS JOIN LATERAL (SELECT coalesce(r.state, t.run_state) AS state) s
                    WHERE t.recurrence_id = c.id AND t.decided_at > coalesce(c.resumed_at, '-infinity')
                      AND (t.outcome = 'refused' OR s.state IN ('succeeded', 'skipped', 'failed', 'terminated'))
                    ORDER BY t.tick_at DESC
                    LIMIT c.pause_after_failures
                ) q
            ) f
            WHERE c.pause_after_failures IS NOT NULL AND c.paused_at IS NULL AND f.failures = c.pause_after_failures
            LIMIT $1
            FOR UPDATE OF c SKIP LOCKED
        )
        UPDATE penstock.recurrences c
        SET paused_at = clock_timestamp(), due_at = NULL, held_since = NULL,
            pause_note = CASE c.pause_after_failures WHEN 1 THEN 'its last run failed'
                         ELSE format('its last %s runs failed', c.pause_after_failures) END
        FROM failing f
        WHERE c.id = f.id AND c.paused_at IS NULL
        RETURNING c.id, c.environment, c.workflow, c.pause_note
        """,
        most,
    )
    for row in rows:
        await _report(conn, row)
    return len(rows)


async def _report(conn: Connection, paused: Record) -> None:
    id, workflow = paused["id"], paused["workflow"]
    message = (
        f"Workflow error: the recurrence {id} of {workflow} was paused, because {paused['pause_note']} "
        f"(pause_after_failures); repair it, then `penstock recurrences resume {id}`"
    )
    await write_logs(conn, [_line(id, paused["environment"], workflow, message)])
    details: dict[str, JsonValue] = {"message": message, "recurrence_id": str(id), "workflow": workflow}
    notice = Notice(paused["environment"], NoticeKind.RECURRENCES, details, topic="paused")
    await request_notices(conn, [notice])


def _line(id: UUID, environment: str, workflow: str, message: str) -> LogLine:
    return LogLine(
        at=clock.now(),
        environment=environment,
        level="error",
        event=LogEvent.WORKFLOW_ERROR,
        message=message,
        workflow=workflow,
        details={"kind": RECURRENCE_PAUSED, "recurrence_id": str(id)},
    )
