"""SQL of the management API: chains."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from penstock.db import Connection
from penstock_ingress.repository.views import ChainRun


@dataclass(frozen=True, slots=True)
class ChainMarks:
    """What was noted of a chain that has scheduled anything."""

    warned_at: datetime | None
    stopped_at: datetime | None
    stop_reason: str | None


async def find_chain_id(conn: Connection, *, environment: str, run_id: UUID) -> UUID | None:
    """The chain that a run, or the chain itself, belongs to; None when the environment has no such run."""
    chain_id: UUID | None = await conn.fetchval(
        """
        SELECT chain_id FROM penstock.runs WHERE (id = $1 OR chain_id = $1) AND environment = $2 LIMIT 1
        """,
        run_id,
        environment,
    )
    return chain_id


async def count_chain(conn: Connection, *, chain_id: UUID) -> list[tuple[int, str, int, float]]:
    """How many runs a chain has, and their workload units, by depth and state, in order of depth."""
    rows = await conn.fetch(
        """
        SELECT depth, state, count(*) AS runs, sum(workload) AS workload
        FROM penstock.runs
        WHERE chain_id = $1
        GROUP BY depth, state
        ORDER BY depth, state
        """,
        chain_id,
    )
    return [(row["depth"], row["state"], row["runs"], row["workload"]) for row in rows]


async def find_marks(conn: Connection, *, chain_id: UUID) -> ChainMarks:
    """What was noted of a chain."""
    row = await conn.fetchrow("SELECT warned_at, stopped_at, stop_reason FROM penstock.chains WHERE id = $1", chain_id)
    return (
        ChainMarks(None, None, None)
        if row is None
        else ChainMarks(row["warned_at"], row["stopped_at"], row["stop_reason"])
    )


async def list_chain_runs(
    conn: Connection, *, chain_id: UUID, after: tuple[int, UUID] | None, limit: int
) -> list[ChainRun]:
    """Runs of a chain by depth, then id, those behind the place `after`."""
    rows = await conn.fetch(
        """
        SELECT id, parent_run_id, workflow, state, depth, created_at, finished_at, error
        FROM penstock.runs
        WHERE chain_id = $1 AND ($2::int IS NULL OR (depth, id) > ($2, $3::uuid))
        ORDER BY depth, id
        LIMIT $4
        """,
        chain_id,
        after[0] if after else None,
        after[1] if after else None,
        limit,
    )
    return [ChainRun.model_validate(dict(row)) for row in rows]
