"""Runs that ended badly and that a workflow waits for: noted by the database when they end, taken by a scheduler."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended: its `state` after `attempt`, and what it was. `user` is the one it ran for."""

    run_id: UUID
    chain_id: UUID
    environment: str
    workflow: str
    state: str
    attempt: int
    depth: int
    parameters: JsonValue
    error: JsonValue
    user: JsonValue

    def run_context(self) -> dict[str, JsonValue]:
        """What the expressions of the runs it starts see: `run_event`, and the user."""
        event: JsonValue = {
            "id": str(self.run_id), "chain_id": str(self.chain_id), "workflow": self.workflow, "state": self.state,
            "attempt": self.attempt, "depth": self.depth, "parameters": self.parameters, "error": self.error,
        }  # fmt: skip
        return {"run_event": event} if self.user is None else {"run_event": event, "user": self.user}


async def list_environments_with_ends(conn: Connection) -> Sequence[str]:
    """The environments in which ends wait."""
    rows = await conn.fetch("SELECT DISTINCT environment FROM penstock.run_ends ORDER BY environment")
    return [row["environment"] for row in rows]


async def take_run_ends(conn: Connection, *, environment: str, most: int) -> list[RunEnd]:
    """Take the ends that have waited longest out of the table; skips those that another scheduler holds."""
    rows = await conn.fetch(
        """
        WITH held AS MATERIALIZED (
            SELECT e.id FROM penstock.run_ends e WHERE e.environment = $1 ORDER BY e.id LIMIT $2 FOR UPDATE SKIP LOCKED
        ), taken AS (
            DELETE FROM penstock.run_ends e USING held WHERE e.id = held.id RETURNING e.*
        )
        SELECT r.id, r.chain_id, r.environment, r.workflow, t.state, t.attempt, r.depth, r.parameters, r.error,
               r.context -> 'user' AS user
        FROM taken t
        CROSS JOIN LATERAL (SELECT r.* FROM penstock.runs r WHERE r.id = t.run_id OFFSET 0) r
        ORDER BY t.id
        """,
        environment,
        most,
    )
    return [
        RunEnd(
            run_id=row["id"],
            chain_id=row["chain_id"],
            environment=row["environment"],
            workflow=row["workflow"],
            state=row["state"],
            attempt=row["attempt"],
            depth=row["depth"],
            parameters=row["parameters"],
            error=row["error"],
            user=row["user"],
        )
        for row in rows
    ]
