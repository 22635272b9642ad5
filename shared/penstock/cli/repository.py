"""What commands read beyond the library's own views: the signs of health, and ids by their prefix."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from penstock.db import Connection


@dataclass(frozen=True, slots=True)
class Health:
    """The signs that `doctor` looks at. Ages are in seconds, 0 when there is nothing of the kind."""

    server_version: int
    clock_at: datetime
    waiting_runs: int
    oldest_waiting_seconds: float
    overdue_runs: int
    expired_leases: int
    open_lists: int
    deployments: dict[str, int]


async def read_health(conn: Connection) -> Health:
    """One look at the whole database. Overdue are runs that no scheduler has dispatched, or woken, 30 s after they were
    due.
    """
    row = await conn.fetchrow(
        """
        SELECT current_setting('server_version_num')::int AS server_version,
               clock_timestamp() AS clock_at,
               (SELECT count(*) FROM penstock.runs
                WHERE finished_at IS NULL AND indexed_state IS NULL AND state = 'queued') AS waiting_runs,
               (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(scheduled_at)), 0)::float8
                FROM penstock.runs
                WHERE finished_at IS NULL AND indexed_state IS NULL AND state = 'queued') AS oldest_waiting_seconds,
               (SELECT count(*) FROM penstock.runs
                WHERE indexed_state || '' = 'scheduled' AND parked_at IS NULL AND crowd IS NULL
                  AND scheduled_at < clock_timestamp() - interval '30 seconds')
                 + (SELECT count(*) FROM penstock.waits
                     WHERE until < clock_timestamp() - interval '30 seconds' AND parked_at IS NULL) AS overdue_runs,
               (SELECT count(*) FROM penstock.runs
                WHERE finished_at IS NULL AND indexed_state IS NULL AND state = 'running'
                  AND lease_expires_at < clock_timestamp() - interval '30 seconds')
                    AS expired_leases,
               (SELECT count(*) FROM penstock.lists WHERE state = 'expanding') AS open_lists,
               (SELECT jsonb_object_agg(name, deployment_version) FROM penstock.environments) AS deployments
        """
    )
    assert row is not None, "an aggregate without GROUP BY has one row"
    return Health(**{name: row[name] for name in Health.__dataclass_fields__})


async def find_ids(conn: Connection, *, first: UUID, last: UUID, kinds: Sequence[str], limit: int) -> list[UUID]:
    """The ids from `first` to `last` of runs, chains, recurrences, lists, tokens, deliveries and dead letters, as far
    as `kinds` names them; at most `limit`.
    """
    rows = await conn.fetch(
        """
        (SELECT id FROM penstock.runs WHERE 'run' = ANY ($3::text[]) AND id BETWEEN $1 AND $2 ORDER BY id LIMIT $4)
        UNION
        (SELECT id FROM penstock.runs
          WHERE 'chain' = ANY ($3::text[]) AND id BETWEEN $1 AND $2 AND chain_id = id ORDER BY id LIMIT $4)
        UNION
        (SELECT id FROM penstock.recurrences
          WHERE 'recurrence' = ANY ($3::text[]) AND id BETWEEN $1 AND $2 ORDER BY id LIMIT $4)
        UNION
        (SELECT id FROM penstock.lists WHERE 'list' = ANY ($3::text[]) AND id BETWEEN $1 AND $2 ORDER BY id LIMIT $4)
        UNION
        (SELECT id FROM penstock.tokens WHERE 'token' = ANY ($3::text[]) AND id BETWEEN $1 AND $2 ORDER BY id LIMIT $4)
        UNION
        (SELECT id FROM penstock.deliveries
          WHERE 'delivery' = ANY ($3::text[]) AND id BETWEEN $1 AND $2 ORDER BY id LIMIT $4)
        UNION
        (SELECT id FROM penstock.dead_letters
          WHERE 'dead letter' = ANY ($3::text[]) AND id BETWEEN $1 AND $2 ORDER BY id LIMIT $4)
        ORDER BY id LIMIT $4
        """,
        first,
        last,
        list(kinds),
        limit,
    )
    return [row["id"] for row in rows]


@dataclass(frozen=True, slots=True)
class RunTimes:
    """How a run went. Seconds: `waited` from its acceptance until an executor began it, `took` from then to its end;
    None while that is still to come.
    """

    state: str
    created_at: datetime
    finished_at: datetime | None
    waited: float | None
    took: float | None


async def count_unfinished(conn: Connection, ids: Sequence[UUID]) -> int:
    """How many of these runs have not ended."""
    count: int = await conn.fetchval(
        "SELECT count(*) FROM penstock.runs WHERE id = ANY ($1::uuid[]) AND finished_at IS NULL", ids
    )
    return count


async def read_times(conn: Connection, ids: Sequence[UUID]) -> list[RunTimes]:
    """How these runs went, in no order."""
    rows = await conn.fetch(
        """
        SELECT state, created_at, finished_at,
               extract(epoch FROM started_at - created_at)::float8 AS waited,
               extract(epoch FROM finished_at - started_at)::float8 AS took
        FROM penstock.runs
        WHERE id = ANY ($1::uuid[])
        """,
        ids,
    )
    return [RunTimes(**row) for row in rows]


async def find_environment(conn: Connection, *, run_id: UUID) -> str | None:
    """The environment of a run, or of a chain, which has the id of its root; None when there is none."""
    environment: str | None = await conn.fetchval("SELECT environment FROM penstock.runs WHERE id = $1", run_id)
    return environment
