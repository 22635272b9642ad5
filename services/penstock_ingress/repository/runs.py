"""SQL of the management API: runs, with their steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from penstock.db import Connection, Record
from penstock_ingress.repository.views import Attempts, Run, Step, Waiting


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs; None does not matter."""

    workflow: str | None
    states: tuple[str, ...] | None
    chain_id: UUID | None
    parent_run_id: UUID | None
    since: datetime | None
    until: datetime | None
    contains: str | None


async def list_runs(
    conn: Connection, *, environment: str, wanted: RunFilter, after: tuple[datetime, UUID] | None, limit: int
) -> list[Run]:
    """Runs that meet the filter, newest first, those behind the place `after`."""
    rows = await conn.fetch(
        """
        SELECT r.id, r.workflow, r.environment, r.state, r.depth, r.chain_id, r.parent_run_id, r.attempt, r.parameters,
               r.result, r.error,
               round(r.workload::numeric, 6)::float8 AS workload, r.created_at, r.scheduled_at, r.started_at,
                   r.finished_at
        FROM penstock.runs r
        WHERE r.environment = $1
          AND ($2::text IS NULL OR r.workflow = $2)
          AND ($3::text[] IS NULL OR r.state = ANY($3))
          AND ($4::uuid IS NULL OR r.chain_id = $4)
          AND ($5::uuid IS NULL OR r.parent_run_id = $5)
          AND ($6::timestamptz IS NULL OR r.created_at >= $6)
          AND ($7::timestamptz IS NULL OR r.created_at < $7)
          AND ($8::text IS NULL OR strpos(lower(concat_ws(' ', r.parameters::text, r.result::text, r.error::text)),
              lower($8)) > 0)
          AND ($9::timestamptz IS NULL OR (r.created_at, r.id) < ($9, $10::uuid))
        ORDER BY r.created_at DESC, r.id DESC
        LIMIT $11
        """,
        environment,
        wanted.workflow,
        wanted.states,
        wanted.chain_id,
        wanted.parent_run_id,
        wanted.since,
        wanted.until,
        wanted.contains,
        after[0] if after else None,
        after[1] if after else None,
        limit,
    )
    return [_run_from_row(row) for row in rows]


async def find_run(conn: Connection, *, environment: str, run_id: UUID) -> tuple[Run, str, Attempts] | None:
    """A run, what started it, and how its attempts went; None when the environment has no such run."""
    row = await conn.fetchrow(
        """
        SELECT r.id, r.workflow, r.environment, r.state, r.depth, r.chain_id, r.parent_run_id, r.attempt, r.parameters,
               r.result, r.error,
               round(r.workload::numeric, 6)::float8 AS workload,
               r.created_at, r.scheduled_at, r.started_at, r.finished_at, r.trigger, r.failures, r.crashes
        FROM penstock.runs r
        WHERE r.id = $1 AND r.environment = $2
        """,
        run_id,
        environment,
    )
    if row is None:
        return None
    return (
        _run_from_row(row),
        row["trigger"],
        Attempts(begun=row["attempt"], failed=row["failures"], crashed=row["crashes"]),
    )


async def find_wait(conn: Connection, *, run_id: UUID) -> Waiting | None:
    """What a run waits for; None when it does not wait."""
    row = await conn.fetchrow("SELECT step, until, signal, match FROM penstock.waits WHERE run_id = $1", run_id)
    return None if row is None else Waiting.model_validate(dict(row))


async def list_steps(conn: Connection, *, run_id: UUID) -> list[Step]:
    """The steps of a run, in the order in which they began."""
    rows: Sequence[Record] = await conn.fetch(
        """
        SELECT step, action, outcome, attempt, started_at, finished_at, result, error
        FROM penstock.steps
        WHERE run_id = $1
        ORDER BY started_at, finished_at, step
        """,
        run_id,
    )
    return [Step.model_validate(dict(row)) for row in rows]


def _run_from_row(row: Record) -> Run:
    return Run.model_validate(dict(row))


async def has_run(conn: Connection, *, run_id: UUID, environment: str) -> bool:
    """Whether the environment has this run."""
    found: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM penstock.runs WHERE id = $1 AND environment = $2)", run_id, environment
    )
    return found
