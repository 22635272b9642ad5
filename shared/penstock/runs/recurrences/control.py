"""What people do with recurrences: look at them, pause and resume them, have one tick by hand, or make up ticks of the
past.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection, Record
from penstock.domain.ids import new_run_id, tick_run_id
from penstock.domain.lineage import OUTSIDE, Lineage
from penstock.domain.recurrences import Recurrence
from penstock.domain.runs import Admission, Admitted, Rejected, Terminated
from penstock.domain.states import Trigger
from penstock.domain.ticks import next_tick, ticks_after
from penstock.runs.admission import admit
from penstock.runs.recurrences.history import Tick, record_ticks
from penstock.runs.recurrences.rows import COLUMNS, get_time, recurrence_from_row
from penstock.runs.requests import CheckedRun, RunRequest, check_run
from penstock.store.audit import Act, AuditAction, note_acts
from penstock.store.deployments import CompiledDeployment

MAX_BACKFILLED: Final = 1000
"""Ticks that are made up at once."""


async def list_recurrences(
    conn: Connection,
    *,
    environment: str,
    workflow: str | None = None,
    after: tuple[str, UUID] | None = None,
    limit: int,
) -> list[Recurrence]:
    """Recurrences by workflow and id, those behind the place `after`, each with the state of its last run."""
    rows: Sequence[Record] = await conn.fetch(
        f"""
        SELECT {COLUMNS}, (SELECT r.state FROM penstock.runs r WHERE r.id = c.last_run_id) AS last_run_state
        FROM penstock.recurrences c
        WHERE c.environment = $1 AND ($2::text IS NULL OR c.workflow = $2)
          AND ($3::text IS NULL OR (c.workflow, c.id) > ($3, $4::uuid))
        ORDER BY c.workflow, c.id
        LIMIT $5
        """,
        environment,
        workflow,
        after[0] if after else None,
        after[1] if after else None,
        limit,
    )
    return [recurrence_from_row(row) for row in rows]


async def find_recurrence(conn: Connection, *, id: UUID, environment: str | None = None) -> Recurrence | None:
    """A recurrence with the state of its last run; None when there is none of that id (in that environment)."""
    row = await conn.fetchrow(
        f"""
        SELECT {COLUMNS}, (SELECT r.state FROM penstock.runs r WHERE r.id = c.last_run_id) AS last_run_state
        FROM penstock.recurrences c
        WHERE c.id = $1 AND ($2::text IS NULL OR c.environment = $2)
        """,
        id,
        environment,
    )
    return None if row is None else recurrence_from_row(row)


async def pause_recurrence(conn: Connection, *, id: UUID, note: str | None = None, actor: str | None = None) -> None:
    """Let a recurrence not tick again until it is resumed; `note` says why, to people. To be called in a transaction.

    `actor` is who did it, for the audit.
    """
    environment: str | None = await conn.fetchval(
        """
        UPDATE penstock.recurrences
        SET paused_at = clock_timestamp(), due_at = NULL, held_since = NULL, pause_note = $2
        WHERE id = $1 AND paused_at IS NULL
        RETURNING environment
        """,
        id,
        note,
    )
    if environment is not None and actor is not None:
        await note_acts(conn, [Act(environment, actor, AuditAction.RECURRENCE_PAUSE, str(id))])


async def resume_recurrence(conn: Connection, *, id: UUID, actor: str | None = None) -> None:
    """Let a paused recurrence tick again from now on; the ticks meanwhile are not made up. One whose next tick lies
    ahead keeps it: the step `recur` may have put it off. To be called in a transaction.
    """
    row = await conn.fetchrow(
        f"SELECT {COLUMNS} FROM penstock.recurrences c WHERE c.id = $1 AND c.paused_at IS NOT NULL FOR UPDATE", id
    )
    if row is None:
        return
    paused = replace(recurrence_from_row(row), paused_at=None)
    now, tick_at = await get_time(conn), paused.next_tick_at
    if tick_at is None or tick_at <= now:
        tick_at = None if tick_at is None else next_tick(paused.rule, now)
    await conn.execute(
        """
        UPDATE penstock.recurrences
        SET paused_at = NULL, pause_note = NULL, resumed_at = clock_timestamp(), next_tick_at = $2, due_at = $3
        WHERE id = $1
        """,
        id,
        tick_at,
        None if tick_at is None else paused.due_time(tick_at),
    )
    if actor is not None:
        await note_acts(conn, [Act(paused.environment, actor, AuditAction.RECURRENCE_RESUME, str(id))])


def list_past_ticks(recurrence: Recurrence, since: datetime, until: datetime) -> list[datetime]:
    """The ticks from `since` on and before `until`. Raises ValueError when they are too many to be made up at once."""
    found: list[datetime] = []
    for tick_at in ticks_after(recurrence.rule, since - timedelta(microseconds=1)):
        if tick_at >= until:
            break
        if len(found) == MAX_BACKFILLED:
            raise ValueError(f"there are more than {MAX_BACKFILLED} ticks in that time; begin with a shorter one")
        found.append(tick_at)
    return found


async def start_by_hand(
    conn: Connection,
    *,
    deployment: CompiledDeployment,
    recurrence: Recurrence,
    delay: timedelta | None = None,
    lineage: Lineage = OUTSIDE,
) -> Admission:
    """Admit a run as a tick would that is due now (or after `delay`). It counts as no tick, and when a run of ours has
    asked for it, it continues that run's chain. Raises StaleDefinitions.
    """
    now = await get_time(conn)
    request = _request(recurrence, new_run_id(), now)._replace(lineage=lineage, scheduled_at=delay)
    run = check_run(request, deployment)
    return run if isinstance(run, Rejected) else (await admit(conn, [run]))[0]


async def make_up_ticks(
    conn: Connection,
    *,
    deployment: CompiledDeployment,
    recurrence: Recurrence,
    ticks: Sequence[datetime],
    delay: timedelta | None = None,
    lineage: Lineage = OUTSIDE,
) -> list[Admission] | Rejected:
    """Admit the runs of past ticks, due now (or after `delay`), whatever `overlap` says; a tick that had its run makes
    no second one.

    Raises StaleDefinitions.
    """
    runs: list[CheckedRun] = []
    for tick_at in ticks:
        request = _request(recurrence, tick_run_id(recurrence.id, tick_at), tick_at)
        run = check_run(request._replace(lineage=lineage, scheduled_at=delay), deployment)
        if isinstance(run, Rejected):
            return run
        runs.append(run)
    outcomes = await admit(conn, runs) if runs else []
    started = [
        Tick(recurrence.id, tick_at, "started", run.run_id)
        for tick_at, run, outcome in zip(ticks, runs, outcomes, strict=True)
        if not isinstance(outcome, Rejected)
    ]
    await record_ticks(conn, started)
    return outcomes


async def note_started(
    conn: Connection,
    actor: str,
    recurrence: Recurrence,
    outcomes: Sequence[Admission],
    period: tuple[datetime, datetime] | None = None,
) -> None:
    """Note for the audit which runs somebody has started, by hand or for the ticks of a period."""
    runs = [str(outcome.run.id) for outcome in outcomes if isinstance(outcome, Admitted | Terminated)]
    after: dict[str, JsonValue] = {"workflow": recurrence.workflow, "runs": len(runs)}
    if period is None:
        after |= {"run_ids": [*runs]}
        action = AuditAction.RECURRENCE_TRIGGER
    else:
        after |= {"since": period[0].isoformat(), "until": period[1].isoformat()}
        action = AuditAction.RECURRENCE_BACKFILL
    await note_acts(conn, [Act(recurrence.environment, actor, action, str(recurrence.id), None, after)])


def _request(recurrence: Recurrence, run_id: UUID, tick_at: datetime) -> RunRequest:
    return RunRequest(
        run_id=run_id,
        environment=recurrence.environment,
        workflow=recurrence.workflow,
        parameters=recurrence.parameters,
        trigger=Trigger.RECURRENCE,
        context=recurrence.run_context(tick_at),
    )
