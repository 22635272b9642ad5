"""SQL of what is shown of chains."""

from uuid import UUID

from penstock.db import Connection
from penstock.runs.views.models import ChainCount, ChainHead, ChainRun
from penstock.runs.views.pages import Page, make_page

TreePlace = tuple[int, UUID]


async def find_chain(conn: Connection, *, run_id: UUID, environment: str | None = None) -> ChainHead | None:
    """The chain of that id, or of the run of that id; None when there is none, or not in that environment.

    A chain that has scheduled nothing yet is known by its root only.
    """
    row = await conn.fetchrow(
        """
        SELECT r.chain_id AS id, r.environment, c.warned_at, c.stopped_at, c.stop_reason
        FROM penstock.runs r
        LEFT JOIN penstock.chains c ON c.id = r.chain_id
        WHERE (r.id = $1 OR r.chain_id = $1) AND ($2::text IS NULL OR r.environment = $2)
        LIMIT 1
        """,
        run_id,
        environment,
    )
    return None if row is None else ChainHead.model_validate(dict(row))


async def count_chain(conn: Connection, *, chain_id: UUID) -> list[ChainCount]:
    """How many runs a chain has, and their workload units, by depth and state, in order of depth."""
    rows = await conn.fetch(
        """
        SELECT r.depth, r.state, count(*) AS runs, sum(r.workload) AS workload
        FROM penstock.runs r
        WHERE r.chain_id = $1
        GROUP BY r.depth, r.state
        ORDER BY r.depth, r.state
        """,
        chain_id,
    )
    return [ChainCount.model_validate(dict(row)) for row in rows]


async def list_chain_runs(
    conn: Connection, *, chain_id: UUID, after: TreePlace | None, limit: int
) -> Page[ChainRun, TreePlace]:
    """Runs of a chain by depth, then id: those nearest to the root first."""
    rows = await conn.fetch(
        """
        SELECT r.id, r.parent_run_id, r.list_id, r.workflow, r.state, r.depth, r.created_at, r.finished_at, r.error
        FROM penstock.runs r
        WHERE r.chain_id = $1 AND ($2::int IS NULL OR (r.depth, r.id) > ($2, $3::uuid))
        ORDER BY r.depth, r.id
        LIMIT $4
        """,
        chain_id,
        after[0] if after else None,
        after[1] if after else None,
        limit + 1,
    )
    return make_page([ChainRun.model_validate(dict(row)) for row in rows], limit, lambda run: (run.depth, run.id))
