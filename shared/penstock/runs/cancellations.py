"""Ending runs by hand, and taking failed ones up again: the same for a step, the management API and the command
line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from pydantic import JsonValue

from penstock import clock
from penstock.db import Connection
from penstock.domain.runs import RunSummary
from penstock.domain.states import RunState
from penstock.runs.lists import reopen_lists
from penstock.runs.summaries import SUMMARY, summary_from_row
from penstock.runs.waits_and_signals import forget_waits
from penstock.store.audit import Act, AuditAction, note_acts
from penstock.store.logs import LogEvent, LogLine, write_logs


async def cancel_runs(
    conn: Connection, *, environment: str, run_ids: Sequence[UUID], by: str, actor: str | None = None
) -> list[RunSummary]:
    """Cancel those of these runs that have not ended, whatever they are doing, and log it; returns them.

    What is running is fenced from the commit on: its executor can write nothing more of it, and stops it when it next
    renews its leases, or sooner if it hears of the event that the caller publishes. `by` says who cancels, for the
    log; `actor` for the audit, unless a step does it.
    """
    rows = await conn.fetch(
        f"""
        WITH wanted AS MATERIALIZED (
            SELECT r.id
            FROM penstock.runs r
            WHERE r.id = ANY($2::uuid[]) AND r.environment = $1
              AND r.state || '' IN ('scheduled', 'queued', 'running', 'waiting')
            ORDER BY r.id
            FOR UPDATE OF r
        )
        UPDATE penstock.runs r
        SET state = 'cancelled', finished_at = clock_timestamp(), lease_expires_at = NULL
        FROM wanted w
        WHERE r.id = w.id
        RETURNING {SUMMARY}
        """,
        environment,
        run_ids,
    )
    cancelled = [summary_from_row(row) for row in rows]
    if cancelled:
        await forget_waits(conn, run_ids=[run.id for run in cancelled])
        await write_logs(conn, [_line(run, "warning", LogEvent.CANCELLED, f"cancelled by {by}") for run in cancelled])
    if actor is not None:
        await note_acts(
            conn, [Act(environment, actor, AuditAction.RUN_CANCEL, str(run.id), None, _about(run)) for run in cancelled]
        )
    return cancelled


async def list_missing_children(conn: Connection, *, parent_run_id: UUID, run_ids: Sequence[UUID]) -> list[UUID]:
    """Those of these ids that `schedule` steps of the run have returned, and that no run has yet: they are on their
    way.
    """
    rows = await conn.fetch(
        """
        SELECT q.id
        FROM unnest($2::uuid[]) AS q (id)
        WHERE NOT EXISTS (SELECT FROM penstock.runs r WHERE r.id = q.id)
          AND q.id::text IN (SELECT s.result #>> '{}' FROM penstock.steps s WHERE s.run_id = $1
              AND s.action = 'schedule')
        """,
        parent_run_id,
        run_ids,
    )
    return [row["id"] for row in rows]


@dataclass(frozen=True, slots=True)
class NotRetried:
    """The run is in this state, so it cannot be retried."""

    state: RunState


@dataclass(frozen=True, slots=True)
class Retry:
    """Who asks for a retry: by what way (`by`, for the log) and, unless a step does, which `actor`, for the audit.
    `how` says what is different from the first time.
    """

    by: str
    actor: str | None = None
    is_dispatched: bool = True
    how: str = "from the failed step"


async def retry_run(
    conn: Connection, *, environment: str, run_id: UUID, asked: Retry
) -> RunSummary | NotRetried | None:
    """Queue a failed run again; None when the environment has no such run. The caller dispatches it.

    One that cannot (`asked.is_dispatched` is false) has it scheduled for now, so that a scheduler does within a second.

    It continues from the step that failed: finished steps stay finished, and its definition's version, depth and chain
    stay. Its failures, those of its steps, and crashes are counted from zero again. A list that had finished with it is
    open again until it has ended.
    """
    row = await conn.fetchrow(
        f"""
        WITH forgotten AS (
            DELETE FROM penstock.steps s
            USING penstock.runs r
            WHERE s.run_id = $1 AND s.action = 'retry' AND r.id = $1 AND r.environment = $2 AND r.state || '' = 'failed'
        )
        UPDATE penstock.runs r
        SET state = CASE WHEN $3 THEN 'queued' ELSE 'scheduled' END, failures = 0, crashes = 0, error = NULL,
            finished_at = NULL,
            owner = NULL, scheduled_at = clock_timestamp(), dispatched_at = CASE WHEN $3 THEN clock_timestamp() END
        WHERE r.id = $1 AND r.environment = $2 AND r.state || '' = 'failed'
        RETURNING {SUMMARY}, r.list_id
        """,
        run_id,
        environment,
        asked.is_dispatched,
    )
    if row is not None:
        run = summary_from_row(row)
        await reopen_lists(conn, list_ids=[row["list_id"]])
        await write_logs(conn, [_line(run, "info", LogEvent.RETRIED, f"retried {asked.how} by {asked.by}")])
        if asked.actor is not None:
            after = {**_about(run), "how": asked.how}
            act = Act(environment, asked.actor, AuditAction.RUN_RETRY, str(run.id), {"state": "failed"}, after)
            await note_acts(conn, [act])
        return run
    state: str | None = await conn.fetchval(
        "SELECT state FROM penstock.runs WHERE id = $1 AND environment = $2", run_id, environment
    )
    return None if state is None else NotRetried(RunState(state))


async def retry_runs(conn: Connection, *, environment: str, run_ids: Sequence[UUID], by: str) -> list[RunSummary]:
    """Have those of these runs that have failed start again now, as `retry_run` does, and log it; returns them. A
    scheduler dispatches them.
    """
    rows = await conn.fetch(
        f"""
        WITH wanted AS MATERIALIZED (
            SELECT r.id FROM penstock.runs r
            WHERE r.id = ANY($2::uuid[]) AND r.environment = $1 AND r.state || '' = 'failed'
            ORDER BY r.id
            FOR UPDATE OF r
        ), forgotten AS (
            DELETE FROM penstock.steps s USING wanted w WHERE s.run_id = w.id AND s.action = 'retry'
        )
        UPDATE penstock.runs r
        SET state = 'scheduled', failures = 0, crashes = 0, error = NULL, finished_at = NULL, owner = NULL,
            scheduled_at = clock_timestamp(), dispatched_at = NULL
        FROM wanted w
        WHERE r.id = w.id
        RETURNING {SUMMARY}, r.list_id
        """,
        environment,
        run_ids,
    )
    await reopen_lists(conn, list_ids=[row["list_id"] for row in rows])
    retried = [summary_from_row(row) for row in rows]
    lines = [_line(run, "info", LogEvent.RETRIED, f"retried from the failed step by {by}") for run in retried]
    await write_logs(conn, lines)
    return retried


def _about(run: RunSummary) -> dict[str, JsonValue]:
    return {"workflow": run.workflow, "state": run.state.value}


def _line(run: RunSummary, level: str, event: LogEvent, message: str) -> LogLine:
    return LogLine(
        at=clock.now(),
        environment=run.environment,
        level=level,
        event=event,
        message=message,
        run_id=run.id,
        chain_id=run.chain_id,
        workflow=run.workflow,
        depth=run.depth,
    )
