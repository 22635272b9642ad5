"""SQL of a chain as a picture: its runs, read in pieces, and how near it is to its limits."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from penstock.db import Connection
from penstock.domain.pictures import Picture, SeenRun
from penstock.domain.states import Termination
from penstock.runs.views.models import ChainGauges, ChainRun, Gauge

MAX_READ: Final = 200_000
"""Runs that are read for a picture; those nearest to the root come first."""
_PIECE: Final = 1000
"""Runs that are folded before others get their turn: some milliseconds."""
LIST_SEEN_RUNS: Final = """
    SELECT r.id, r.parent_run_id, r.workflow, r.state, r.depth,
           CASE WHEN r.state IN ('terminated', 'cancelled') THEN r.error ->> 'kind' END AS cut
    FROM penstock.runs r
    WHERE r.chain_id = $1 AND (r.id = $1 OR r.chain_id <> r.id)
    ORDER BY r.depth, r.id
    LIMIT $2
"""
_CUTS: Final = frozenset(reason.value for reason in Termination)


async def read_picture(conn: Connection, *, chain_id: UUID) -> Picture:
    """The tree of a chain, of its first MAX_READ runs. To be called in a transaction."""
    picture = Picture()
    cursor = await conn.cursor(LIST_SEEN_RUNS, chain_id, MAX_READ)
    while rows := await cursor.fetch(_PIECE):
        picture.add(
            SeenRun(id, parent, workflow, state, depth, cut if cut in _CUTS else None)
            for id, parent, workflow, state, depth, cut in rows
        )
    return picture


async def measure_chain(conn: Connection, *, chain_id: UUID) -> ChainGauges:
    """How far a chain has come towards its limits, as they are now. Of the depth, by its deepest run that was
    admitted.
    """
    row = await conn.fetchrow(
        """
        SELECT d.depth - coalesce((d.budget ->> 'base')::integer, 0) AS depth, d.depth AS deepest,
               CASE WHEN d.budget ? 'falls' THEN NULL ELSE coalesce(d.depth_limit, e.depth_limit) END AS depth_limit,
               coalesce(c.extra_depth, 0) AS extra_depth,
               coalesce(c.runs, 1) AS runs, e.chain_runs_limit, coalesce(c.extra_runs, 0) AS extra_runs,
               coalesce(c.workload, 0) AS workload, e.chain_workload_limit,
               coalesce(c.extra_workload, 0) AS extra_workload, c.runs_warned_at, c.workload_warned_at, c.warned_at
        FROM (
            SELECT r.chain_id, r.environment, r.depth, r.depth_limit, r.budget
            FROM penstock.runs r
            WHERE r.chain_id = $1 AND (r.id = $1 OR r.chain_id <> r.id)
            ORDER BY r.state = 'terminated', r.depth DESC
            LIMIT 1
        ) d
        JOIN penstock.environments e ON e.name = d.environment
        LEFT JOIN penstock.chains c ON c.id = d.chain_id
        """,
        chain_id,
    )
    assert row is not None, "a chain has a run"
    return ChainGauges(
        deepest=row["deepest"],
        depth=Gauge(reached=row["depth"], limit=row["depth_limit"], extra=row["extra_depth"]),
        runs=Gauge(reached=row["runs"], limit=row["chain_runs_limit"], extra=row["extra_runs"]),
        workload=Gauge(reached=row["workload"], limit=row["chain_workload_limit"], extra=row["extra_workload"]),
    )


async def list_runs_by_id(conn: Connection, *, run_ids: Sequence[UUID]) -> list[ChainRun]:
    """These runs as they are shown in a chain, in the order of their ids."""
    rows = await conn.fetch(
        """
        SELECT r.id, r.parent_run_id, r.list_id, r.workflow, r.state, r.depth, r.created_at, r.finished_at, r.error
        FROM unnest($1::uuid[]) AS q (id)
        JOIN LATERAL (SELECT o.* FROM penstock.runs o WHERE o.id = q.id OFFSET 0) r ON true
        ORDER BY r.id
        """,
        run_ids,
    )
    return [ChainRun.model_validate(dict(row)) for row in rows]
