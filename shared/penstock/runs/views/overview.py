"""SQL of what an environment does at this moment. Whatever the size of the tables, each statement reads a bounded
number of rows, found by indexes of what is under way.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import Field

from penstock.db import Connection
from penstock.runs.views.models import ChainLimit, Shown

MAX_SAMPLED: Final = 2000
"""Runs that are looked at of those that are scheduled, handed to executors, and waiting; those that are due first come
first.
"""
MAX_FAILED: Final = 500
"""Failed runs that are looked through, of both environments."""
MAX_WARNED: Final = 500
WARNED_WITHIN: Final = timedelta(days=1)


class NearChain(Shown):
    """A chain that came near one of its limits."""

    id: UUID
    workflow: str | None = Field(description="Of its root; null when that is no longer stored")
    near: list[ChainLimit] = Field(description="Which limits it came near to")
    runs: int
    runs_limit: int
    warned_at: datetime
    stopped_at: datetime | None


class RecentError(Shown):
    """A run that failed."""

    id: UUID
    workflow: str
    chain_id: UUID
    created_at: datetime
    finished_at: datetime | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Sample:
    """Runs of one environment that have not ended, by why they do not move; `running` among them.

    `late_since` is when the one was due that has waited longest for an executor. `is_exact`: all of them were read.
    """

    reasons: dict[str, int]
    late_since: datetime | None
    is_exact: bool


_SAMPLE: Final = """
    WITH scheduled AS MATERIALIZED (
        SELECT r.id, r.environment, r.scheduled_at, r.parked_at, r.is_limited,
               r.failures > 0 OR r.attempt > 0 AS is_retry
        FROM penstock.runs r WHERE r.indexed_state = 'scheduled' ORDER BY r.scheduled_at LIMIT $2
    ), handed AS MATERIALIZED (
        SELECT r.environment, r.scheduled_at, r.state
        FROM penstock.runs r WHERE r.finished_at IS NULL AND r.indexed_state IS NULL
        ORDER BY r.dispatched_at LIMIT $2
    ), waiting AS MATERIALIZED (
        SELECT w.environment, CASE
            WHEN w.parked_at IS NOT NULL THEN 'paused'
            WHEN EXISTS (SELECT FROM penstock.steps s
                         WHERE s.run_id = w.run_id AND s.step = w.step AND s.action = 'retry' OFFSET 0) THEN 'retry'
            WHEN w.is_join THEN 'runs'
            WHEN w.signal IS NULL THEN 'time'
            ELSE 'signal'
        END AS reason
        FROM penstock.waits w LIMIT $2
    ), live AS (
        SELECT s.environment, s.scheduled_at, CASE
            WHEN p.rule IS NOT NULL THEN p.rule
            WHEN s.parked_at IS NOT NULL
            THEN CASE WHEN EXISTS (SELECT FROM penstock.list_line q WHERE q.run_id = s.id OFFSET 0) THEN 'sequence'
                      ELSE 'paused' END
            WHEN s.scheduled_at > clock_timestamp() THEN CASE WHEN s.is_retry THEN 'retry' ELSE 'due' END
            ELSE 'executor'
        END AS reason
        FROM scheduled s
        LEFT JOIN LATERAL (
            SELECT split_part(p.rule, ':', 1) AS rule FROM penstock.places p
            WHERE p.run_id = s.id AND s.is_limited AND p.waits_since IS NOT NULL
            ORDER BY p.rule LIMIT 1
        ) p ON true
        UNION ALL
        SELECT h.environment, h.scheduled_at, CASE h.state WHEN 'running' THEN 'running' ELSE 'executor' END
        FROM handed h
        UNION ALL SELECT w.environment, NULL, w.reason FROM waiting w
    )
    SELECT coalesce((SELECT jsonb_object_agg(q.reason, q.runs)
                     FROM (SELECT l.reason, count(*) AS runs FROM live l WHERE l.environment = $1 GROUP BY 1) q),
                    '{}') AS reasons,
           (SELECT min(l.scheduled_at) FROM live l WHERE l.environment = $1 AND l.reason = 'executor')
               AS late_since,
           greatest((SELECT count(*) FROM scheduled), (SELECT count(*) FROM handed),
                    (SELECT count(*) FROM waiting)) < $2 AS is_exact
"""


async def sample_live_runs(conn: Connection, *, environment: str, most: int = MAX_SAMPLED) -> Sample:
    """Why runs wait, of the first `most` in each state."""
    row = await conn.fetchrow(_SAMPLE, environment, most)
    assert row is not None, "a statement of aggregates has a row"
    return Sample(**row)


async def list_near_chains(conn: Connection, *, environment: str, limit: int) -> list[NearChain]:
    """Chains that came near one of their limits within the last day, the newest warning first."""
    rows = await conn.fetch(
        """
        SELECT w.id, root.workflow, w.runs, e.chain_runs_limit + w.extra_runs AS runs_limit, w.warned_at,
               w.stopped_at, array_remove(ARRAY[
                   CASE WHEN w.depth_warned_at IS NOT NULL THEN 'depth' END,
                   CASE WHEN w.runs_warned_at IS NOT NULL THEN 'runs' END,
                   CASE WHEN w.workload_warned_at IS NOT NULL THEN 'workload' END], NULL) AS near
        FROM (
            SELECT c.id, c.environment, c.runs, c.extra_runs, c.stopped_at, c.warned_at AS depth_warned_at,
                   c.runs_warned_at, c.workload_warned_at,
                   greatest(c.warned_at, c.runs_warned_at, c.workload_warned_at) AS warned_at
            FROM penstock.chains c
            -- Not by the clock of this moment, which no index is compared with.
            WHERE greatest(c.warned_at, c.runs_warned_at, c.workload_warned_at) > statement_timestamp() - $2::interval
            ORDER BY greatest(c.warned_at, c.runs_warned_at, c.workload_warned_at) DESC
            LIMIT $3
        ) w
        JOIN penstock.environments e ON e.name = w.environment
        LEFT JOIN LATERAL (SELECT r.workflow FROM penstock.runs r WHERE r.id = w.id OFFSET 0) root ON true
        WHERE w.environment = $1
        ORDER BY w.warned_at DESC, w.id
        LIMIT $4
        """,
        environment,
        WARNED_WITHIN,
        MAX_WARNED,
        limit,
    )
    return [NearChain.model_validate(dict(row)) for row in rows]


async def list_recent_errors(conn: Connection, *, environment: str, limit: int) -> list[RecentError]:
    """The newest runs that have failed and were not taken up again, of the last MAX_FAILED of both environments."""
    rows = await conn.fetch(
        """
        SELECT q.id, q.workflow, q.chain_id, q.created_at, q.finished_at, q.error ->> 'message' AS message
        FROM (
            SELECT r.id, r.environment, r.workflow, r.chain_id, r.created_at, r.finished_at, r.error
            FROM penstock.runs r
            WHERE r.indexed_state = 'failed'
            ORDER BY r.created_at DESC
            LIMIT $2
        ) q
        WHERE q.environment = $1
        ORDER BY q.created_at DESC
        LIMIT $3
        """,
        environment,
        MAX_FAILED,
        limit,
    )
    return [RecentError.model_validate(dict(row)) for row in rows]
