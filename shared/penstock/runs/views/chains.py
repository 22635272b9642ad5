"""SQL of what is shown of chains."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from penstock.db import Connection
from penstock.runs.views.models import ChainCount, ChainHead, ChainRun, ListedChain
from penstock.runs.views.pages import Page, make_page

TreePlace = tuple[int, UUID]
ChainPlace = tuple[datetime, UUID]
MAX_LOOKED: Final = 5_000
"""Chains that one page looks at, whose roots may be of another workflow than is asked for."""


class ChainMark(StrEnum):
    """What may have happened to a chain."""

    NEAR = "near"
    """It came near one of its limits."""
    CUT = "cut"
    """A limit has terminated runs of it, and not all of them were readmitted."""
    STOPPED = "stopped"
    """It was stopped, and has not been resumed."""


@dataclass(frozen=True, slots=True)
class ChainFilter:
    """Which chains; None does not matter. `workflow` is that of the root, `since` and `until` are about the time at
    which a chain first scheduled anything.
    """

    environment: str
    mark: ChainMark | None = None
    workflow: str | None = None
    since: datetime | None = None
    until: datetime | None = None


_WARNED_AT: Final = "greatest(c.warned_at, c.runs_warned_at, c.workload_warned_at)"
_BY_CREATION: Final = (
    "c.created_at",
    """c.environment = $1 AND IS_MARKED
              AND c.created_at >= coalesce($2::timestamptz, '-infinity')
              AND c.created_at < coalesce($3::timestamptz, 'infinity')""",
)
"""By what chains are ordered, and which are looked at."""
_BY_WARNING: Final = (_WARNED_AT, "true")
# Nothing sorts what the innermost query gives: the loops around it keep its order, and read no more than is asked for.
_PAGE: Final = """
    SELECT c.id, root.workflow, root.state, c.created_at, c.runs, e.chain_runs_limit + c.extra_runs AS runs_limit,
           array_remove(ARRAY[
               CASE WHEN c.warned_at IS NOT NULL THEN 'depth' END,
               CASE WHEN c.runs_warned_at IS NOT NULL THEN 'runs' END,
               CASE WHEN c.workload_warned_at IS NOT NULL THEN 'workload' END], NULL) AS near,
           WARNED_AT AS warned_at, c.cut_at, c.stopped_at,
           c.number = $8 AS is_end, ORDERED_BY AS place_at, (IS_WANTED) IS TRUE AS is_wanted
    FROM (
        SELECT q.*, row_number() OVER () AS number FROM (
            SELECT c.* FROM penstock.chains c
            WHERE IS_LOOKED_AT
              AND ORDERED_BY <= coalesce($4::timestamptz, 'infinity')
              AND (ORDERED_BY, c.id) < (coalesce($4::timestamptz, 'infinity'),
                                        coalesce($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
            ORDER BY ORDERED_BY DESC, c.id DESC
            LIMIT $8
        ) q
    ) c
    LEFT JOIN LATERAL (SELECT r.workflow, r.state FROM penstock.runs r WHERE r.id = c.id OFFSET 0) root ON true
    LEFT JOIN LATERAL (
        SELECT e.chain_runs_limit FROM penstock.environments e WHERE e.name = c.environment OFFSET 0
    ) e ON true
    WHERE (IS_WANTED) OR c.number = $8
    LIMIT $7
    """
_IS_WANTED: Final = """c.environment = $1
           AND c.created_at >= coalesce($2::timestamptz, '-infinity')
           AND c.created_at < coalesce($3::timestamptz, 'infinity')
           AND ($6::text IS NULL OR root.workflow = $6)"""


def _make(way: tuple[str, str], mark: str = "true") -> str:
    ordered_by, is_looked_at = way
    parts = {
        "IS_LOOKED_AT": is_looked_at, "IS_MARKED": mark, "ORDERED_BY": ordered_by, "WARNED_AT": _WARNED_AT,
        "IS_WANTED": _IS_WANTED,
    }  # fmt: skip
    statement = _PAGE
    for name, text in parts.items():
        statement = statement.replace(name, text)
    return statement


LIST_CHAINS: Final = {
    None: _make(_BY_CREATION),
    ChainMark.NEAR: _make(_BY_WARNING),
    ChainMark.CUT: _make(_BY_CREATION, "c.cut_at IS NOT NULL"),
    ChainMark.STOPPED: _make(_BY_CREATION, "c.stopped_at IS NOT NULL"),
}
"""By mark, a page of chains. The last row may be one that is not wanted: `is_end` says that no more were looked at."""


async def list_chains(
    conn: Connection, wanted: ChainFilter, *, after: ChainPlace | None, limit: int
) -> Page[ListedChain, ChainPlace]:
    """Chains that have scheduled anything, newest first; those near a limit by their last warning. With an `after`
    where there may be more, even if they are fewer than `limit`.
    """
    rows = await conn.fetch(
        LIST_CHAINS[wanted.mark],
        wanted.environment,
        wanted.since,
        wanted.until,
        after[0] if after else None,
        after[1] if after else None,
        wanted.workflow,
        limit + 1,
        MAX_LOOKED,
    )
    wanted_rows = [row for row in rows if row["is_wanted"]]
    page = make_page(wanted_rows, limit, lambda row: (row["place_at"], row["id"]))
    after = page.after
    if after is None and rows and rows[-1]["is_end"]:
        after = rows[-1]["place_at"], rows[-1]["id"]
    return Page([ListedChain.model_validate(dict(row)) for row in page.results], after)


async def find_chain_place(conn: Connection, *, chain_id: UUID, mark: ChainMark | None) -> ChainPlace | None:
    """Where a chain stands in the list of all chains, or of those with a mark; None when it is not there."""
    row = await conn.fetchrow(
        """
        SELECT CASE WHEN $2::boolean THEN greatest(c.warned_at, c.runs_warned_at, c.workload_warned_at)
                    ELSE c.created_at END AS at
        FROM penstock.chains c WHERE c.id = $1
        """,
        chain_id,
        mark is ChainMark.NEAR,
    )
    return None if row is None or row["at"] is None else (row["at"], chain_id)


async def find_chain(conn: Connection, *, run_id: UUID, environment: str | None = None) -> ChainHead | None:
    """The chain of that id, or of the run of that id; None when there is none, or not in that environment.

    A chain that has scheduled nothing yet is known by its root only.
    """
    row = await conn.fetchrow(
        """
        SELECT r.chain_id AS id, r.environment, c.warned_at, c.stopped_at, c.stop_reason
        FROM penstock.runs r
        LEFT JOIN penstock.chains c ON c.id = r.chain_id
        WHERE (r.id = $1 OR r.chain_id = $1 AND r.chain_id <> r.id) AND ($2::text IS NULL OR r.environment = $2)
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
        WHERE r.chain_id = $1 AND (r.id = $1 OR r.chain_id <> r.id)
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
        WHERE r.chain_id = $1 AND (r.id = $1 OR r.chain_id <> r.id)
          AND ($2::int IS NULL OR (r.depth, r.id) > ($2, $3::uuid))
        ORDER BY r.depth, r.id
        LIMIT $4
        """,
        chain_id,
        after[0] if after else None,
        after[1] if after else None,
        limit + 1,
    )
    return make_page([ChainRun.model_validate(dict(row)) for row in rows], limit, lambda run: (run.depth, run.id))
