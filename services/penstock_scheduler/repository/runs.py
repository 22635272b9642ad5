"""Runs that are due, lost or left behind. Statements skip rows of other schedulers, so any number works at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

from penstock.contracts.topology import LANES, Lane
from penstock.db import Connection
from penstock.definitions.models import ENVIRONMENTS
from penstock.domain.runs import RunSummary
from penstock.domain.states import RunState
from penstock.runs.summaries import SUMMARY, summary_from_row


class Ready(NamedTuple):
    """Runs of a lane that are due and wait for an executor, and the age of the oldest in seconds."""

    runs: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much work waits: runs that are due, by lane, runs for later, runs that wait in a step, and runs that a pause
    or a limit of their workflow holds back.
    """

    lanes: Mapping[Lane, Ready]
    scheduled: int
    waiting: int
    held: int

    @property
    def ready(self) -> int:
        """Runs that are due, of all lanes."""
        return sum(lane.runs for lane in self.lanes.values())

    @property
    def oldest_seconds(self) -> float:
        """The age of the oldest run that is due."""
        return max(lane.oldest_seconds for lane in self.lanes.values())


# `indexed_state || ''` is the condition of the indexes of what is due, of crowds and of others. `indexed_state =
# 'scheduled'` would also fit that of all runs that are scheduled, which is read whole where the planner takes both for
# small.
CROWDS: Final = """
    crowds AS (
        (SELECT r.crowd, r.scheduled_at, r.is_bulk, 1 AS number FROM penstock.runs r
         WHERE r.indexed_state || '' = 'scheduled' AND r.parked_at IS NULL AND r.crowd IS NOT NULL
           AND ($1::uuid IS NULL OR r.crowd > $1)
         ORDER BY r.crowd, r.scheduled_at LIMIT 1)
        UNION ALL
        (SELECT f.crowd, f.scheduled_at, f.is_bulk, c.number + 1 FROM crowds c CROSS JOIN LATERAL (
             SELECT r.crowd, r.scheduled_at, r.is_bulk FROM penstock.runs r
             WHERE r.indexed_state || '' = 'scheduled' AND r.parked_at IS NULL AND r.crowd IS NOT NULL
               AND r.crowd > c.crowd
             ORDER BY r.crowd, r.scheduled_at LIMIT 1
         ) f WHERE c.number < $2)
    )
    """
"""At most `$2` crowds behind `$1` with runs that have not been handed over, and when the first of these is due. Of
each, one run is read, whatever its size.
"""
MAX_CROWDS: Final = 1000
MAX_READY: Final = 100_000
MAX_COMING: Final = 10_000
# A part for each state and an order, so that each reads its own partial index from its beginning: `state IN (…)` uses
# none of them. Without a run of either state nothing but the ends of the indexes is read.
_MEASURE_BACKLOG: Final = f"""
    WITH RECURSIVE {CROWDS}, ready AS MATERIALIZED (
        (SELECT r.scheduled_at, r.is_bulk FROM penstock.runs r
         WHERE r.finished_at IS NULL AND r.indexed_state IS NULL AND r.state = 'queued'
         ORDER BY r.dispatched_at LIMIT $3)
        UNION ALL
        (SELECT r.scheduled_at, r.is_bulk FROM penstock.runs r
         WHERE r.indexed_state || '' = 'scheduled' AND r.parked_at IS NULL AND r.crowd IS NULL
           AND r.scheduled_at <= statement_timestamp()
         ORDER BY r.scheduled_at LIMIT $3)
        UNION ALL
        -- All of a crowd are of one lane.
        (SELECT f.scheduled_at, c.is_bulk FROM crowds c CROSS JOIN LATERAL (
             SELECT r.scheduled_at FROM penstock.runs r
             WHERE r.indexed_state || '' = 'scheduled' AND r.parked_at IS NULL AND r.crowd = c.crowd
               AND r.scheduled_at <= statement_timestamp()
             ORDER BY r.scheduled_at LIMIT $3
         ) f LIMIT $3)
        LIMIT $3
    ), coming AS MATERIALIZED (
        SELECT FROM (
            SELECT r.scheduled_at FROM penstock.runs r
            WHERE r.indexed_state = 'scheduled' AND r.parked_at IS NULL AND r.scheduled_at > statement_timestamp()
            ORDER BY r.scheduled_at LIMIT $4
        ) s
    ), items AS MATERIALIZED (
        -- Of lists whose items are all due: what is left behind those that are runs by now.
        SELECT coalesce(sum(i.items), 0) AS items FROM (
            SELECT l.total - c.first_index AS items
            FROM penstock.lists l
            CROSS JOIN LATERAL (
                SELECT c.first_index FROM penstock.list_chunks c
                WHERE c.list_id = l.id AND c.expanded_at IS NULL ORDER BY c.first_index LIMIT 1 OFFSET 0
            ) c
            WHERE l.state = 'expanding' AND NOT l.is_sequential AND l.interval_seconds = 0
              AND l.start_at <= statement_timestamp()
            ORDER BY l.created_at LIMIT $2
        ) i
    )
    SELECT (SELECT count(*) FROM ready d WHERE d.is_bulk IS NOT TRUE) AS interactive,
           least((SELECT count(*) FROM ready d WHERE d.is_bulk) + (SELECT items FROM items), $3)::int AS bulk,
           coalesce(extract(epoch FROM statement_timestamp() - (
               SELECT min(d.scheduled_at) FROM ready d WHERE d.is_bulk IS NOT TRUE
           )), 0)::float8 AS interactive_oldest,
           coalesce(extract(epoch FROM statement_timestamp() - (
               SELECT min(d.scheduled_at) FROM ready d WHERE d.is_bulk
           )), 0)::float8 AS bulk_oldest,
           (SELECT count(*) FROM coming) AS scheduled,
           (SELECT count(*) FROM (SELECT FROM penstock.waits LIMIT $4) w) AS waiting,
           (SELECT count(*) FROM (
               SELECT FROM penstock.runs r WHERE r.parked_at IS NOT NULL
               ORDER BY r.environment, r.scheduled_at LIMIT $4
           ) h) AS held,
           (SELECT coalesce(sum(c.reltuples), 0)::float8 FROM pg_class c
            WHERE c.oid IN (to_regclass('penstock.runs_due'), to_regclass('penstock.runs_crowd_due')))
               AS vacuumed_scheduled,
           coalesce((SELECT c.reltuples FROM pg_class c WHERE c.oid = to_regclass('penstock.waits')), 0)
               AS vacuumed_waiting
    """
QUEUE_DUE: Final = f"""
    UPDATE penstock.runs r
    SET (state, indexed_state, dispatched_at, finished_at, parked_at) = (
            SELECT s.state,
                   CASE WHEN s.state = 'scheduled' THEN s.state END,
                   CASE WHEN s.state <> 'scheduled' THEN clock_timestamp() END,
                   CASE WHEN s.state = 'terminated' THEN clock_timestamp() END,
                   CASE WHEN s.state = 'scheduled' THEN clock_timestamp() END
            FROM (
                SELECT CASE
                    WHEN EXISTS (
                        SELECT FROM penstock.chains c WHERE c.id = r.chain_id AND c.stopped_at IS NOT NULL
                    ) THEN 'terminated'
                    WHEN (SELECT e.has_pauses FROM penstock.environments e WHERE e.name = r.environment)
                         AND penstock.find_pause(
                             r.environment, r.workflow, r.chain_id, r.list_id, r.scheduled_at) IS NOT NULL
                    THEN 'scheduled'
                    ELSE 'queued'
                END AS state
                OFFSET 0
            ) s
        )
    WHERE r.id = ANY(ARRAY(SELECT d.id FROM due d)) AND r.state = (SELECT 'scheduled')
    RETURNING {SUMMARY}, r.crowd
    """
"""Queues the runs of `due`, ends those of stopped chains, and parks those that are paused."""
# Arrays, where joins would do: of a table it has no statistics of, the planner believes that it is all but empty,
# and reads every due run once for each due run. The subselect keeps it from the partial index by state, which it
# would read as a whole for the same reason.
_DISPATCH_DUE: Final = f"""
    WITH front AS MATERIALIZED (
        SELECT r.id
        FROM penstock.runs r
        WHERE r.indexed_state || '' = 'scheduled' AND r.parked_at IS NULL AND r.crowd IS NULL
          AND r.scheduled_at <= statement_timestamp()
        ORDER BY r.scheduled_at
        LIMIT 10000
    ), due AS MATERIALIZED (
        SELECT r.id
        FROM penstock.runs r
        WHERE r.id = ANY(ARRAY(SELECT f.id FROM front f))
          AND r.state = (SELECT 'scheduled') AND r.parked_at IS NULL AND r.scheduled_at <= statement_timestamp()
        ORDER BY r.priority, r.scheduled_at
        LIMIT $1
        FOR UPDATE OF r SKIP LOCKED
    )
    {QUEUE_DUE}
    """


async def dispatch_due_runs(conn: Connection, *, most: int) -> list[RunSummary]:
    """Make due runs `queued`, by priority and then by due time; those of a stopped chain `terminated`. Those that are
    paused are parked, and returned as `scheduled`. Never before they are due.

    Priority counts among the 10,000 that are due longest, so that a backlog is not sorted as a whole each time.
    """
    rows = await conn.fetch(_DISPATCH_DUE, most)
    return [
        summary_from_row(row) for row in sorted(rows, key=lambda row: (row["priority"], row["scheduled_at"], row["id"]))
    ]


async def find_next_due(conn: Connection) -> float | None:
    """Seconds until the next scheduled run is due, by the database's clock; below 0 when overdue, None without any."""
    seconds: float | None = await conn.fetchval(
        "SELECT extract(epoch FROM min(scheduled_at) - clock_timestamp())::float8 FROM penstock.runs WHERE "
        "indexed_state || '' = 'scheduled' AND parked_at IS NULL AND crowd IS NULL"
    )
    return seconds


async def redispatch_runs(conn: Connection, *, older_than: timedelta, most: int, is_bulk: bool) -> list[RunSummary]:
    """Stamp queued runs of a lane whose last dispatch is longer ago than `older_than` as dispatched now; returns
    them.
    """
    rows = await conn.fetch(
        f"""
        WITH lost AS MATERIALIZED (
            SELECT r.id
            FROM penstock.runs r
            WHERE r.finished_at IS NULL AND r.indexed_state IS NULL AND r.state = 'queued'
              AND (r.dispatched_at < statement_timestamp() - $1::interval
                OR r.dispatched_at IS NULL)
              AND (r.is_bulk IS TRUE) = $3
            ORDER BY r.dispatched_at
            LIMIT $2
            FOR UPDATE SKIP LOCKED
        )
        UPDATE penstock.runs r
        SET dispatched_at = clock_timestamp()
        FROM lost l
        WHERE r.id = l.id AND r.state || '' = 'queued'
        RETURNING {SUMMARY}
        """,
        older_than,
        most,
        is_bulk,
    )
    return [summary_from_row(row) for row in rows]


async def measure_backlog(conn: Connection, *, most_ready: int = MAX_READY, most_coming: int = MAX_COMING) -> Backlog:
    """What waits now, over all environments, but for what a pause holds back. Due items of lists that are not runs yet
    count as runs that are due: there will be work for as many executors.

    Reads no more than `most_ready` runs that are due and `most_coming` of each kind that is not, whatever the size of
    the tables. Beyond that the last vacuum's figures count, if they are higher. The ages are of those read.
    """
    row = await conn.fetchrow(_MEASURE_BACKLOG, None, MAX_CROWDS, most_ready, most_coming)
    assert row is not None
    return Backlog(
        {lane: Ready(row[lane], max(0.0, row[f"{lane}_oldest"])) for lane in LANES},
        max(row["scheduled"], int(row["vacuumed_scheduled"])) if row["scheduled"] == most_coming else row["scheduled"],
        max(row["waiting"], int(row["vacuumed_waiting"])) if row["waiting"] == most_coming else row["waiting"],
        row["held"],
    )


async def find_run_state(conn: Connection, *, run_id: UUID) -> RunState | None:
    """The state of a run; None when there is no such run."""
    state: str | None = await conn.fetchval("SELECT state FROM penstock.runs WHERE id = $1", run_id)
    return None if state is None else RunState(state)


async def find_fingerprint(conn: Connection, *, environment: str, scope: str, key: str) -> bytes | None:
    """The hash of the request that an idempotency key is bound to; None when it is not bound."""
    fingerprint: bytes | None = await conn.fetchval(
        "SELECT fingerprint FROM penstock.idempotency_keys WHERE environment = $1 AND scope = $2 AND key = $3",
        environment,
        scope,
        key,
    )
    return fingerprint


async def list_key_ages(conn: Connection, *, environment: str, scope: str) -> dict[str, timedelta]:
    """The keys of a scope, each with the time since it was bound."""
    rows = await conn.fetch(
        """
        SELECT key, clock_timestamp() - created_at AS age FROM penstock.idempotency_keys
        WHERE environment = $1 AND scope = $2
        """,
        environment,
        scope,
    )
    return {row["key"]: row["age"] for row in rows}


async def rename_key(conn: Connection, *, environment: str, scope: str, old: str, new: str) -> None:
    """Have what is bound to `old` be bound to `new`, as of now."""
    await conn.execute(
        """
        UPDATE penstock.idempotency_keys SET key = $4, created_at = clock_timestamp()
        WHERE environment = $1 AND scope = $2 AND key = $3
        """,
        environment,
        scope,
        old,
        new,
    )


async def forget_key(conn: Connection, *, scope: str, key: str) -> None:
    """Unbind a key, whatever its environment is."""
    await conn.execute(
        "DELETE FROM penstock.idempotency_keys WHERE environment = ANY($1::text[]) AND scope = $2 AND key = $3",
        list(ENVIRONMENTS),
        scope,
        key,
    )


async def find_run_environment(conn: Connection, *, run_id: UUID) -> str | None:
    """The environment of a run; None when there is no such run."""
    environment: str | None = await conn.fetchval("SELECT environment FROM penstock.runs WHERE id = $1", run_id)
    return environment
