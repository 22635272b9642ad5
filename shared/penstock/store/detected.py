"""Proposals of parameters: what `/initialize` has detected of each workflow, until a person accepts it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from penstock.db import Connection, Record
from penstock.definitions.detected import DetectedParameter
from penstock.store.audit import Act, AuditAction, note_acts

MAX_PROPOSALS: Final = 1000
"""Of an environment. Only workflows that are deployed are detected, but an app's workflows may change their names."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """The parameters that the last sample of a workflow suggests. Accepted once a person has taken them over."""

    workflow: str
    parameters: tuple[DetectedParameter, ...]
    detected_at: datetime
    detected_by: str
    accepted_at: datetime | None
    accepted_by: str | None


async def keep_proposal(
    conn: Connection, *, environment: str, workflow: str, parameters: Sequence[DetectedParameter], actor: str
) -> None:
    """Keep what was detected, in place of what was before; the oldest ones beyond MAX_PROPOSALS are dropped. To be
    called in a transaction.
    """
    await conn.execute(
        """
        INSERT INTO penstock.detected_parameters (environment, workflow, parameters, detected_by)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (environment, workflow) DO UPDATE SET
            parameters = excluded.parameters, detected_by = excluded.detected_by, detected_at = clock_timestamp(),
            accepted_at = NULL, accepted_by = NULL
        """,
        environment,
        workflow,
        [parameter._asdict() for parameter in parameters],
        actor,
    )
    await conn.execute(
        """
        DELETE FROM penstock.detected_parameters
        WHERE environment = $1 AND workflow IN (
            SELECT workflow FROM penstock.detected_parameters
            WHERE environment = $1
            ORDER BY detected_at DESC, workflow
            OFFSET $2
        )
        """,
        environment,
        MAX_PROPOSALS,
    )


async def list_proposals(
    conn: Connection, *, environment: str, after: str | None = None, limit: int = MAX_PROPOSALS
) -> list[Proposal]:
    """Proposals of an environment, by workflow; those behind the workflow `after`."""
    rows = await conn.fetch(
        """
        SELECT * FROM penstock.detected_parameters
        WHERE environment = $1 AND ($2::text IS NULL OR workflow > $2)
        ORDER BY workflow
        LIMIT $3
        """,
        environment,
        after,
        limit,
    )
    return [_from_row(row) for row in rows]


async def find_proposal(conn: Connection, *, environment: str, workflow: str) -> Proposal | None:
    """The proposal of a workflow; None when nothing was detected."""
    row = await conn.fetchrow(
        "SELECT * FROM penstock.detected_parameters WHERE environment = $1 AND workflow = $2", environment, workflow
    )
    return None if row is None else _from_row(row)


async def accept_proposal(conn: Connection, *, environment: str, workflow: str, actor: str) -> Proposal | None:
    """Note that a person takes the proposal over, and return it; again, it changes nothing. None when there is none.
    To be called in a transaction.
    """
    found = await conn.fetchrow(
        "SELECT * FROM penstock.detected_parameters WHERE environment = $1 AND workflow = $2 FOR UPDATE",
        environment,
        workflow,
    )
    if found is None or found["accepted_at"] is not None:
        return None if found is None else _from_row(found)
    row = await conn.fetchrow(
        """
        UPDATE penstock.detected_parameters SET accepted_at = clock_timestamp(), accepted_by = $3
        WHERE environment = $1 AND workflow = $2
        RETURNING *
        """,
        environment,
        workflow,
        actor,
    )
    assert row is not None, "its row is locked"
    await note_acts(conn, [Act(environment, actor, AuditAction.DETECTED_ACCEPT, workflow)])
    return _from_row(row)


def _from_row(row: Record) -> Proposal:
    return Proposal(
        workflow=row["workflow"],
        parameters=tuple(DetectedParameter(**parameter) for parameter in row["parameters"]),
        detected_at=row["detected_at"],
        detected_by=row["detected_by"],
        accepted_at=row["accepted_at"],
        accepted_by=row["accepted_by"],
    )
