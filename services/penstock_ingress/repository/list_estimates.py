"""What runs of a workflow took lately, for the estimate of a list."""

from datetime import datetime
from typing import NamedTuple

from pydantic import Field

from penstock.db import Connection
from penstock.runs.views.models import Shown


class ListEstimate(Shown):
    """What a list would come to."""

    runs: int = Field(description="One for each item")
    depth: int = Field(description="Of its runs")
    starts_at: datetime = Field(description="When the first item is due")
    last_due_at: datetime | None = Field(description="When the last item is due; null where that depends on the others")
    seconds: float | None = Field(
        description="From the first start to the last end, at the mean duration of recent runs, if executors have "
        "places enough; null where no run of the workflow has ended lately"
    )
    workload: float | None = Field(description="Workload units, at the mean of recent runs; null as `seconds`")
    measured_runs: int = Field(description="How many recent runs that was taken from")


class RecentRuns(NamedTuple):
    """The means of what runs took."""

    measured: int
    seconds: float | None
    workload: float | None


async def find_recent_runs(conn: Connection, *, environment: str, workflow: str) -> RecentRuns:
    """Of the runs of a workflow that have ended, among the last few thousand of all."""
    row = await conn.fetchrow(
        """
        SELECT count(*)::int AS n, avg(extract(epoch FROM r.finished_at - r.started_at))::float8 AS seconds,
               avg(r.workload)::float8 AS workload
        FROM (
            -- In a subselect: of a number that it knows, the planner takes a young table to have few rows more.
            SELECT * FROM penstock.runs r ORDER BY r.created_at DESC LIMIT (SELECT 5000)
        ) r
        WHERE r.environment = $1 AND r.workflow = $2 AND r.finished_at IS NOT NULL AND r.started_at IS NOT NULL
        """,
        environment,
        workflow,
    )
    assert row is not None
    return RecentRuns(row["n"], row["seconds"], row["workload"])
