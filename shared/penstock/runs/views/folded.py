"""SQL of the runs that are in one node of a chain's picture, found without reading the whole chain.

The runs of a node are of one depth, workflow and state, and so are their ancestors, generation by generation. Ids of a
chain's runs lie side by side, because a child's id begins with the time in its parent's: a page reads them in order,
and compares the ancestors of those that may be meant. Runs that were scheduled under a key of their author have ids
elsewhere; whether the chain has any of these is asked once, for the first page.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from penstock.db import Connection, Record
from penstock.domain.ids import bounds_of_chain
from penstock.runs.views.models import ChainRun
from penstock.runs.views.pages import Page
from penstock.runs.views.pictures import list_runs_by_id

MAX_ANCESTORS: Final = 20_000
"""Ancestors that are compared for a page, about."""
_FIRST: Final = UUID(int=0)


class FoldPlace(NamedTuple):
    """Behind which id a page begins, and whether the chain has runs whose ids lie elsewhere."""

    id: UUID
    has_keyed: bool


LIST_ALIKE: Final = """
    SELECT q.id FROM (
        (
            -- By their ids alone: the chain is not a condition that an index takes.
            SELECT r.id FROM penstock.runs r
            WHERE r.id BETWEEN $5 AND $6 AND r.id > $7 AND (r.chain_id = $1) IS TRUE
              AND r.depth = $2 AND r.workflow = $3 AND r.state || '' = $4
            ORDER BY r.id LIMIT $9
        )
        UNION ALL
        (
            SELECT k.id FROM (
                SELECT r.id FROM penstock.runs r
                WHERE $8::boolean AND r.chain_id = $1 AND (r.id = $1 OR r.chain_id <> r.id)
                  AND NOT r.id BETWEEN $5 AND $6
                  AND r.depth = $2 AND r.workflow = $3 AND r.state || '' = $4
                OFFSET 0
            ) k
            WHERE k.id > $7
            ORDER BY k.id LIMIT $9
        )
    ) q
    ORDER BY q.id
    LIMIT $9
    """
LIST_ANCESTORS: Final = """
    WITH RECURSIVE up AS (
        SELECT q.id AS of, r.parent_run_id, 0 AS step, '' AS workflow, '' AS state, 0 AS depth
        FROM unnest($2::uuid[]) AS q (id)
        CROSS JOIN LATERAL (SELECT r.* FROM penstock.runs r WHERE r.id = q.id OFFSET 0) r
        UNION ALL
        SELECT u.of, p.parent_run_id, u.step + 1, p.workflow, p.state, p.depth
        FROM up u
        CROSS JOIN LATERAL (
            SELECT r.* FROM penstock.runs r WHERE r.id = u.parent_run_id AND (r.chain_id = $1) IS TRUE OFFSET 0
        ) p
    )
    SELECT u.of, array_agg(concat_ws(' ', u.depth, u.state, u.workflow) ORDER BY u.step) AS ancestors
    FROM up u GROUP BY u.of
    """


async def list_folded(
    conn: Connection, *, chain_id: UUID, run_id: UUID, after: FoldPlace | None, limit: int
) -> Page[ChainRun, FoldPlace] | None:
    """The runs in one node with this one, in the order of their ids; None when the chain does not have it. With an
    `after` where there may be more, even if they are fewer than `limit`.
    """
    run = await conn.fetchrow(
        "SELECT r.id, r.depth, r.workflow, r.state FROM penstock.runs r WHERE r.id = $1 AND r.chain_id = $2",
        run_id,
        chain_id,
    )
    if run is None:
        return None
    place = after or FoldPlace(_FIRST, await _has_keyed(conn, chain_id))
    most = max(min(limit + 1, MAX_ANCESTORS // (run["depth"] + 1)), 1)
    ids = await _list_alike(conn, chain_id, run, place, most)
    found = await _keep_relatives(conn, chain_id, run_id, ids)
    has_more = len(ids) == most
    results = await list_runs_by_id(conn, run_ids=found[:limit])
    reached = results[-1].id if len(found) > limit else ids[-1] if has_more else None
    return Page(results, None if reached is None else FoldPlace(reached, place.has_keyed))


async def _has_keyed(conn: Connection, chain_id: UUID) -> bool:
    found: bool = await conn.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM penstock.runs r
            WHERE r.chain_id = $1 AND (r.id = $1 OR r.chain_id <> r.id) AND NOT r.id BETWEEN $2 AND $3 OFFSET 0
        )
        """,
        chain_id,
        *bounds_of_chain(chain_id),
    )
    return found


async def _list_alike(conn: Connection, chain_id: UUID, run: Record, place: FoldPlace, most: int) -> list[UUID]:
    rows = await conn.fetch(
        LIST_ALIKE,
        chain_id,
        run["depth"],
        run["workflow"],
        run["state"],
        *bounds_of_chain(chain_id),
        place.id,
        place.has_keyed,
        most,
    )
    return [row["id"] for row in rows]


async def _keep_relatives(conn: Connection, chain_id: UUID, run_id: UUID, ids: Sequence[UUID]) -> list[UUID]:
    """Those of these runs whose ancestors are like those of the run."""
    if set(ids) <= {run_id}:
        return list(ids)
    rows = await conn.fetch(LIST_ANCESTORS, chain_id, list({*ids, run_id}))
    ancestors = {row["of"]: row["ancestors"] for row in rows}
    return [id for id in ids if ancestors.get(id) == ancestors.get(run_id)]
