"""Workload as the admins are warned of it: what was consumed, and which warnings were given."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from pydantic import JsonValue

from penstock.db import Connection, Record
from penstock.domain.thresholds import WorkloadReading


async def read_workload(conn: Connection) -> list[WorkloadReading]:
    """What each environment has consumed this month and by hour since a week ago, and the settings that judge it.

    Read only where a setting asks for it: without an allowance the month's units are 0, without a factor there are no
    hours.
    """
    rows = await conn.fetch(
        """
        WITH moment AS MATERIALIZED (
            SELECT date_trunc('month', statement_timestamp(), 'UTC') AS month, date_trunc('hour',
                   statement_timestamp(), 'UTC') AS hour
        )
        SELECT e.name, m.month, m.hour, e.workload_allowance, e.workload_spike_factor, e.workload_spike_minimum,
               CASE WHEN e.workload_allowance > 0 THEN coalesce((
                   SELECT sum(w.units) FROM penstock.workload w WHERE w.environment = e.name AND w.hour >= m.month
               ), 0) ELSE 0 END AS month_units,
               CASE WHEN e.workload_spike_factor > 0 THEN coalesce((
                   SELECT jsonb_object_agg(extract(epoch FROM h.hour)::bigint, h.units) FROM (
                       SELECT w.hour, sum(w.units) AS units
                       FROM penstock.workload w
                       WHERE w.environment = e.name AND w.hour >= m.hour - interval '8 days'
                       GROUP BY w.hour
                   ) h
               ), '{}') ELSE '{}' END AS hours
        FROM penstock.environments e, moment m
        ORDER BY e.name
        """
    )
    return [_from_row(row) for row in rows]


def _from_row(row: Record) -> WorkloadReading:
    return WorkloadReading(
        environment=row["name"],
        month=row["month"],
        hour=row["hour"],
        allowance=row["workload_allowance"],
        spike_factor=row["workload_spike_factor"],
        spike_minimum=row["workload_spike_minimum"],
        month_units=row["month_units"],
        units_by_hour={datetime.fromtimestamp(int(second), UTC): units for second, units in row["hours"].items()},
    )


async def note_warning(
    conn: Connection, *, environment: str, threshold: str, period: date, details: Mapping[str, JsonValue]
) -> bool:
    """Note a threshold reached in the period that begins on `period`; False when it was noted before."""
    status = await conn.execute(
        """
        INSERT INTO penstock.notifications (environment, kind, day, details, next_try_at) VALUES ($1, $2, $3, $4, NULL)
        ON CONFLICT DO NOTHING
        """,
        environment,
        threshold,
        period,
        details,
    )
    return status == "INSERT 0 1"


async def delete_old_workload(conn: Connection, *, older_than: timedelta, most: int) -> int:
    """Forget sums of hours before then, at most `most`; returns how many."""
    rows = await conn.fetch(
        """
        DELETE FROM penstock.workload
        WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM penstock.workload
            WHERE environment = ANY(SELECT name FROM penstock.environments)
                AND hour < statement_timestamp() - $1::interval
            LIMIT $2
            FOR UPDATE SKIP LOCKED
        ))
        RETURNING true
        """,
        older_than,
        most,
    )
    return len(rows)
