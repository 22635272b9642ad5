"""SQL of what is shown of lists: how far each is. It costs the same whatever its size."""

from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from pydantic import Field

from penstock.db import Connection, Record
from penstock.runs.followers import follower_run_id
from penstock.runs.views.models import Shown, Stored
from penstock.runs.views.pages import Page, make_page

ListPlace = tuple[datetime, UUID]
ListState = Literal["expanding", "expanded", "finished", "failed"]


class RunList(Shown):
    """A list of runs, and how far it is."""

    id: UUID
    environment: str
    workflow: str
    state: ListState = Field(
        description="`expanding`: some items have no run yet; `expanded`: all have; `finished`: all have ended; "
        "`failed`: its items no longer fit the workflow"
    )
    paused: bool = Field(description="Whether a pause holds it")
    sequential: bool
    total: int
    scheduled: int = Field(description="Items that have not begun, whether or not they have a run yet")
    running: int
    succeeded: int
    failed: int
    skipped: int
    cancelled: int = Field(description="With the items that were given up before they became runs")
    terminated: int
    passed_over: int = Field(description="Things of a search that were gone when their turn came; known at its end")
    remaining: int = Field(description="Items that have not ended")
    rate: float | None = Field(description="Items that have ended per second, since the list began")
    expected_end: datetime | None = Field(description="If it continues at this rate; null while that is not known")
    parent_run_id: UUID | None
    then: str | None = Field(description="The workflow that starts when all have ended")
    then_run_id: UUID | None = Field(description="Its run, once that has started")
    error: Stored = None
    created_at: datetime
    started_at: datetime = Field(description="When its first item is or was due")
    finished_at: datetime | None


_MAX_HANDED: Final = 25_000
_SELECT: Final = f"""
    WITH running AS MATERIALIZED (
        -- Among the runs that were handed to executors first: those that run are not behind many that wait.
        SELECT h.list_id, count(*)::int AS running
        FROM (
            SELECT h.list_id, h.state FROM penstock.runs h
            WHERE h.finished_at IS NULL AND h.indexed_state IS NULL
            ORDER BY h.dispatched_at LIMIT {_MAX_HANDED}
        ) h
        WHERE h.state = 'running' AND h.list_id IS NOT NULL
        GROUP BY h.list_id
    )
    SELECT l.id, l.environment, l.workflow, l.state, l.is_sequential, l.total, l.succeeded + e.succeeded AS succeeded,
           l.failed + e.failed AS failed, l.skipped + e.skipped AS skipped,
           l.cancelled + e.cancelled + l.given_up AS cancelled, l.terminated + e.terminated AS terminated,
           l.passed_over, l.parent_run_id, l.error, l.created_at,
           l.follower ->> 'workflow' AS "then", coalesce(l.follower_state = 'started', false) AS is_followed,
           l.start_at AS started_at, l.finished_at, coalesce(n.running, 0) AS running, statement_timestamp() AS now,
           p.is_paused
    FROM penstock.lists l
    LEFT JOIN running n ON n.list_id = l.id AND l.state IN ('expanding', 'expanded')
    CROSS JOIN LATERAL (
        -- Ends that a scheduler has yet to apply to the counts: those of the last moment.
        SELECT coalesce(sum(q.change) FILTER (WHERE q.state = 'succeeded'), 0)::int AS succeeded,
               coalesce(sum(q.change) FILTER (WHERE q.state = 'failed'), 0)::int AS failed,
               coalesce(sum(q.change) FILTER (WHERE q.state = 'skipped'), 0)::int AS skipped,
               coalesce(sum(q.change) FILTER (WHERE q.state = 'cancelled'), 0)::int AS cancelled,
               coalesce(sum(q.change) FILTER (WHERE q.state = 'terminated'), 0)::int AS terminated
        FROM (
            SELECT e.state, e.change FROM penstock.ends e
            WHERE e.list_id = l.id AND l.state IN ('expanding', 'expanded') LIMIT 20000
        ) q
    ) e
    CROSS JOIN LATERAL (
        SELECT EXISTS (
            SELECT FROM penstock.pauses p
            WHERE p.environment = l.environment AND p.lifted_at IS NULL AND p.since IS NULL AND p.until IS NULL
              AND p.chain_id IS NULL AND (p.workflow IS NULL OR p.workflow = l.workflow)
              AND (p.list_id IS NULL OR p.list_id = l.id)
        ) AND l.finished_at IS NULL AS is_paused
    ) p
    """


async def find_list(conn: Connection, *, environment: str | None, list_id: UUID) -> RunList | None:
    """A list; None when the environment (any, if it is None) has none of that id."""
    row = await conn.fetchrow(
        f"{_SELECT} WHERE l.id = $1 AND ($2::text IS NULL OR l.environment = $2)", list_id, environment
    )
    return None if row is None else _from_row(row)


async def list_lists(
    conn: Connection,
    *,
    environment: str | None,
    workflow: str | None = None,
    is_open: bool | None = None,
    after: ListPlace | None,
    limit: int,
) -> Page[RunList, ListPlace]:
    """Lists, newest first; with `is_open` those that are under way, or those that are not."""
    rows = await conn.fetch(
        f"""
        {_SELECT}
        WHERE ($1::text IS NULL OR l.environment = $1) AND ($2::text IS NULL OR l.workflow = $2)
          AND ($3::bool IS NULL OR (l.finished_at IS NULL) = $3)
          AND l.created_at <= coalesce($4::timestamptz, 'infinity')
          AND ($4::timestamptz IS NULL OR (l.created_at, l.id) < ($4, $5::uuid))
        ORDER BY l.created_at DESC, l.id DESC
        LIMIT $6
        """,
        environment,
        workflow,
        is_open,
        after[0] if after else None,
        after[1] if after else None,
        limit + 1,
    )
    return make_page([_from_row(row) for row in rows], limit, lambda found: (found.created_at, found.id))


def _from_row(row: Record) -> RunList:
    ended = row["succeeded"] + row["failed"] + row["skipped"] + row["cancelled"] + row["terminated"]
    ended_or_gone = ended + row["passed_over"]
    remaining = max(0, row["total"] - ended_or_gone) if row["state"] != "failed" else 0
    until = row["finished_at"] or row["now"]
    seconds = (until - max(row["created_at"], min(row["started_at"], until))).total_seconds()
    rate = ended / seconds if ended and seconds > 0 else None
    is_known = remaining > 0 and row["finished_at"] is None
    return RunList(
        **{name: row[name] for name in _SAME},
        paused=row["is_paused"],
        sequential=row["is_sequential"],
        then_run_id=follower_run_id(row["id"]) if row["is_followed"] else None,
        remaining=remaining,
        scheduled=max(0, remaining - row["running"]),
        rate=None if rate is None else round(rate, 3),
        expected_end=row["now"] + timedelta(seconds=remaining / rate) if rate is not None and is_known else None,
    )


_SAME: Final = (
    "id", "environment", "workflow", "state", "total", "running", "succeeded", "failed", "skipped", "cancelled",
    "terminated", "passed_over", "parent_run_id", "then", "error", "created_at", "started_at", "finished_at",
)  # fmt: skip
