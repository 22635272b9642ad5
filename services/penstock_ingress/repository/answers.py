"""SQL of answers: how the runs ended that somebody waits for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic import JsonValue

from penstock.contracts.messages import RunAnswer
from penstock.db import Connection
from penstock.domain.states import RunState


@dataclass(frozen=True, slots=True)
class CalledRun:
    """A run as its caller may see it. `caller` is the name of who called, `address` where the call came from."""

    id: UUID
    environment: str
    workflow: str
    trigger: str
    state: RunState
    result: JsonValue
    error: JsonValue
    created_at: datetime
    finished_at: datetime | None
    caller: str | None
    address: str | None


async def list_answers(conn: Connection, *, run_ids: Sequence[UUID], early_ids: Sequence[UUID]) -> list[RunAnswer]:
    """Those of these runs that have ended, and those of `early_ids` that have returned."""
    rows = await conn.fetch(
        """
        SELECT id, state, result, error
        FROM penstock.runs
        WHERE id = ANY($1::uuid[]) AND (finished_at IS NOT NULL OR (result IS NOT NULL AND id = ANY($2::uuid[])))
        """,
        run_ids,
        early_ids,
    )
    return [
        RunAnswer.model_construct(
            run_id=row["id"], state=RunState(row["state"]), result=row["result"], error=row["error"]
        )
        for row in rows
    ]


async def find_called_run(conn: Connection, *, run_id: UUID) -> CalledRun | None:
    """A run by its id."""
    row = await conn.fetchrow(
        """
        SELECT id, environment, workflow, trigger, state, result, error, created_at, finished_at,
               context ->> 'caller' AS caller, context -> 'request' ->> 'ip' AS address
        FROM penstock.runs
        WHERE id = $1
        """,
        run_id,
    )
    if row is None:
        return None
    return CalledRun(
        id=row["id"],
        environment=row["environment"],
        workflow=row["workflow"],
        trigger=row["trigger"],
        state=RunState(row["state"]),
        result=row["result"],
        error=row["error"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        caller=row["caller"],
        address=row["address"],
    )


async def find_workflow_of_run(conn: Connection, *, run_id: UUID) -> str | None:
    """The workflow of the run with this id, or None."""
    workflow: str | None = await conn.fetchval("SELECT workflow FROM penstock.runs WHERE id = $1", run_id)
    return workflow
