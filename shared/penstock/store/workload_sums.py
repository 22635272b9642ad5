"""Workload as people look at it: sums by workflow, activity or hour, and the month against its allowance."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from penstock.db import Connection, Record
from penstock.domain.workload import shown_units

WAYS: Final = ("workflow", "activity", "hour")
"""By what workload may be summed."""


@dataclass(frozen=True, slots=True)
class WorkloadFilter:
    """What to sum, by which of WAYS; None does not matter. `since` counts from the beginning of its hour.

    With a chain its runs are summed, which know their total only: by workflow, or by the hour in which they ended.
    """

    by: str
    since: datetime | None = None
    until: datetime | None = None
    workflow: str | None = None
    chain_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class WorkloadSum:
    """`key` is the workflow (empty: requests that belong to none), the activity, or the hour as ISO 8601.

    `count` says how often the activity happened; of a workflow or an hour, how many runs ended.
    """

    key: str
    count: int
    units: float


@dataclass(frozen=True, slots=True)
class MonthlyWorkload:
    """What an environment has consumed in this calendar month (UTC), and its allowance; 0: it has none."""

    environment: str
    since: datetime
    units: float
    allowance: float

    @property
    def share(self) -> float | None:
        """How much of the allowance is used; None when there is none."""
        return self.units / self.allowance if self.allowance > 0 else None


async def sum_workload(conn: Connection, *, environment: str, wanted: WorkloadFilter) -> list[WorkloadSum]:
    """The sums, the largest first; hours, the newest first."""
    if wanted.chain_id is not None:
        return await _sum_chain(conn, environment, wanted, wanted.chain_id)
    rows = await conn.fetch(
        """
        WITH summed AS (
            SELECT CASE $2 WHEN 'workflow' THEN w.workflow WHEN 'activity' THEN w.activity
                           ELSE to_char(w.hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END AS key,
                   coalesce(sum(w.count) FILTER (WHERE $2 = 'activity' OR w.activity = 'run'), 0)::bigint AS count,
                       sum(w.units) AS units
            FROM penstock.workload w
            WHERE w.environment = $1 AND w.hour >= coalesce(date_trunc('hour', $3::timestamptz, 'UTC'), '-infinity')
              AND w.hour < coalesce($4::timestamptz, 'infinity') AND ($5::text IS NULL OR w.workflow = $5)
            GROUP BY key
        )
        SELECT key, count, units FROM summed ORDER BY CASE WHEN $2 = 'hour' THEN key END DESC, units DESC, key
        """,
        environment,
        wanted.by,
        wanted.since,
        wanted.until,
        wanted.workflow,
    )
    return _from_rows(rows)


async def _sum_chain(conn: Connection, environment: str, wanted: WorkloadFilter, chain_id: UUID) -> list[WorkloadSum]:
    rows = await conn.fetch(
        """
        WITH ended AS (
            SELECT r.workflow, r.state, r.workload, coalesce(r.finished_at, r.scheduled_at) AS at
            FROM penstock.runs r
            WHERE r.chain_id = $3 AND (r.id = $3 OR r.chain_id <> r.id) AND r.environment = $1
        ), summed AS (
            SELECT CASE $2 WHEN 'workflow' THEN e.workflow
                           ELSE to_char(date_trunc('hour', e.at, 'UTC') AT TIME ZONE 'UTC',
                               'YYYY-MM-DD"T"HH24:MI:SS"Z"') END AS key,
                   count(*) FILTER (WHERE e.state IN ('succeeded', 'failed', 'skipped')) AS count,
                       sum(e.workload) AS units
            FROM ended e
            WHERE ($4::timestamptz IS NULL OR e.at >= $4) AND ($5::timestamptz IS NULL OR e.at < $5)
              AND ($6::text IS NULL OR e.workflow = $6)
            GROUP BY key
        )
        SELECT key, count, units FROM summed ORDER BY CASE WHEN $2 = 'hour' THEN key END DESC, units DESC, key
        """,
        environment,
        wanted.by,
        chain_id,
        wanted.since,
        wanted.until,
        wanted.workflow,
    )
    return _from_rows(rows)


def _from_rows(rows: Sequence[Record]) -> list[WorkloadSum]:
    return [WorkloadSum(row["key"], row["count"], shown_units(row["units"])) for row in rows]


async def list_months(conn: Connection) -> list[MonthlyWorkload]:
    """This month of every environment, in the order of their names."""
    rows = await conn.fetch(
        """
        SELECT e.name, m.since, e.workload_allowance, coalesce(sum(w.units), 0) AS units
        FROM penstock.environments e
        CROSS JOIN (SELECT date_trunc('month', statement_timestamp(), 'UTC') AS since) m
        LEFT JOIN penstock.workload w ON w.environment = e.name AND w.hour >= m.since
        GROUP BY e.name, m.since, e.workload_allowance
        ORDER BY e.name
        """
    )
    return [
        MonthlyWorkload(row["name"], row["since"], shown_units(row["units"]), row["workload_allowance"]) for row in rows
    ]
