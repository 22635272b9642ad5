"""SQL of what a step's inputs are computed from."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection
from penstock.definitions.values import format_date
from penstock.domain.callers import is_admin_user
from penstock.runs.step_inputs.models import Values


@dataclass(frozen=True, slots=True)
class StepFacts:
    """A step that was performed, and the run that it belongs to. `run_attempt` is the last one of the run, `attempt`
    the one in which the step ended. `outcome` is `succeeded`, `failed`, `skipped` or `waiting`.
    """

    run_id: UUID
    chain_id: UUID
    environment: str
    workflow: str
    version: int
    depth: int
    depth_limit: int | None
    run_attempt: int
    scheduled_at: datetime
    run_started_at: datetime
    mended_at: datetime | None
    parameters: Values
    context: Values | None
    step: str
    action: str
    outcome: str
    attempt: int
    started_at: datetime
    finished_at: datetime

    @property
    def is_of_last_attempt(self) -> bool:
        """Whether the run was not begun again since."""
        return self.attempt == self.run_attempt

    @property
    def user_id(self) -> str | None:
        """The `_id` of the user whom expressions see; None without one, and when an admin has started the run."""
        user = (self.context or {}).get("user")
        id = user.get("_id") if isinstance(user, dict) else None
        return id if isinstance(id, str) and not is_admin_user(id) else None

    def to_scope(self) -> Values:
        """What expressions saw as `run`."""
        return {
            "id": str(self.run_id),
            "chain_id": str(self.chain_id),
            "depth": self.depth,
            "depth_limit": self.depth_limit,
            "attempt": self.attempt,
            "environment": self.environment,
            "workflow": self.workflow,
            "scheduled_at": format_date(self.scheduled_at),
            "started_at": format_date(self.run_started_at),
        }


async def find_step(conn: Connection, *, environment: str, run_id: UUID, step: str) -> StepFacts | None:
    """A step that has begun, by its path; None when the run, in this environment, has none."""
    row = await conn.fetchrow(
        """
        SELECT r.id AS run_id, r.chain_id, r.environment, r.workflow, r.version, r.depth, r.depth_limit,
               r.attempt AS run_attempt, r.scheduled_at, r.started_at AS run_started_at, r.mended_at, r.parameters,
               r.context, s.step, s.action, s.outcome, s.attempt, s.started_at, s.finished_at
        FROM penstock.runs r
        JOIN penstock.steps s ON s.run_id = r.id
        WHERE r.id = $2 AND r.environment = $1 AND r.version IS NOT NULL AND r.started_at IS NOT NULL
          -- Of a step between two tries there are only pauses so far, whose paths are its own and a mark.
          AND (s.step = $3 AND s.action <> 'retry' OR starts_with(s.step, $3 || '~') AND s.action = 'retry')
        ORDER BY s.action = 'retry', s.started_at DESC
        LIMIT 1
        """,
        environment,
        run_id,
        step,
    )
    return None if row is None else StepFacts(**dict(row))


async def find_results(conn: Connection, *, run_id: UUID, steps: Collection[str]) -> dict[str, JsonValue]:
    """By path, the results of those of these steps that have ended and let the run continue."""
    rows = await conn.fetch(
        """
        SELECT s.step, s.result FROM penstock.steps s
        WHERE s.run_id = $1 AND s.step = ANY($2::text[]) AND s.action <> 'retry'
          AND s.outcome <> 'waiting' AND (s.outcome <> 'failed' OR s.result IS NOT NULL)
        """,
        run_id,
        list(steps),
    )
    return {row["step"]: row["result"] for row in rows}


async def list_states(conn: Connection, *, run_id: UUID, prefix: str, before: datetime) -> list[Values]:
    """What the `state` steps of one workflow, whose paths begin with `prefix`, had set before a time, in order."""
    rows = await conn.fetch(
        """
        SELECT s.result FROM penstock.steps s
        WHERE s.run_id = $1 AND s.action = 'state' AND s.outcome = 'succeeded' AND s.started_at < $3
          AND starts_with(s.step, $2) AND strpos(substr(s.step, length($2) + 1), '/') = 0
        ORDER BY s.started_at, s.finished_at
        """,
        run_id,
        prefix,
        before,
    )
    return [row["result"] for row in rows if isinstance(row["result"], dict)]
