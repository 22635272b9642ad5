"""Turns of runs that wait under a limit; `penstock.runs.places` has the whole story."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from penstock.db import Connection
from penstock.domain.runs import RunSummary
from penstock.domain.turns import UNLIMITED, Candidate, Room
from penstock.runs.summaries import SUMMARY, summary_from_row


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope in which somebody may have a turn: which rule of which workflow it belongs to."""

    environment: str
    workflow: str
    rule: str
    id: UUID


class Bound(NamedTuple):
    """What a rule says of a scope. `limit` None: nothing, since the rule is gone. `per` is that of a rate."""

    limit: int | None = None
    per: timedelta | None = None
    is_line: bool = False
    skips_failed: bool = False


class Due(NamedTuple):
    """Scopes of one rule of a workflow that have to be looked at."""

    environment: str
    workflow: str
    rule: str
    scopes: list[UUID]

    @property
    def each(self) -> list[Scope]:
        """The scopes one by one."""
        return [Scope(self.environment, self.workflow, self.rule, id) for id in self.scopes]


async def take_due_turns(conn: Connection, *, most: int) -> list[Due]:
    """Take up to `most` scopes that have to be looked at, and keep other schedulers from their workflows until the
    transaction ends. Skips what another scheduler has taken.
    """
    rows = await conn.fetch(
        """
        WITH due AS MATERIALIZED (
            SELECT t.id FROM penstock.turns t WHERE t.due_at <= clock_timestamp()
            ORDER BY t.due_at LIMIT $1 FOR UPDATE SKIP LOCKED
        ), taken AS (
            DELETE FROM penstock.turns t WHERE t.id = ANY(ARRAY(SELECT d.id FROM due d))
            RETURNING t.environment, t.workflow, t.rule, t.scope
        )
        SELECT environment, workflow, rule, array_agg(DISTINCT scope) AS scopes FROM taken
        GROUP BY environment, workflow, rule
        """,
        most,
    )
    for environment, workflow in sorted({(row["environment"], row["workflow"]) for row in rows}):
        await conn.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('turns/' || $1 || '/' || $2, 0))", environment, workflow
        )
    return [Due(*row) for row in rows]


async def list_versions(conn: Connection) -> dict[str, int]:
    """Which deployment of each environment is current."""
    rows = await conn.fetch("SELECT name, deployment_version FROM penstock.environments")
    return {row["name"]: row["deployment_version"] for row in rows}


async def measure_scopes(conn: Connection, bounds: Mapping[UUID, Bound]) -> dict[UUID, Room]:
    """What is free in each scope now."""
    rows = await conn.fetch(
        """
        SELECT q.scope, q.is_line,
               CASE WHEN q.is_line THEN 1 - t.taken
                    WHEN q.most IS NULL THEN $6::int
                    WHEN q.per IS NULL THEN q.most - t.taken
                    ELSE q.most - u.used END AS free,
               CASE WHEN q.is_line THEN h.run_id END AS head
        FROM unnest((SELECT $1::uuid[]), (SELECT $2::int[]), (SELECT $3::interval[]), (SELECT $4::bool[]),
                    (SELECT $5::bool[])) AS q (scope, most, per, is_line, skips_failed)
        LEFT JOIN LATERAL (
            SELECT count(*)::int AS taken FROM penstock.places p
            WHERE p.scope = q.scope AND p.taken_at IS NOT NULL AND q.per IS NULL OFFSET 0
        ) t ON true
        LEFT JOIN LATERAL (
            SELECT count(*)::int AS used FROM penstock.rate_uses u
            WHERE u.scope = q.scope AND u.at > clock_timestamp() - q.per AND q.per IS NOT NULL OFFSET 0
        ) u ON true
        LEFT JOIN LATERAL (
            SELECT p.run_id FROM penstock.places p
            WHERE p.scope = q.scope AND p.rule = 'sequence' AND NOT p.is_done AND q.is_line
              AND NOT (q.skips_failed AND EXISTS (
                  SELECT FROM penstock.runs r WHERE r.id = p.run_id AND r.finished_at IS NOT NULL))
            ORDER BY p.position LIMIT 1 OFFSET 0
        ) h ON true
        """,
        list(bounds),
        [bound.limit for bound in bounds.values()],
        [bound.per for bound in bounds.values()],
        [bound.is_line for bound in bounds.values()],
        [bound.skips_failed for bound in bounds.values()],
        UNLIMITED - 1,
    )
    return {row["scope"]: Room(row["free"], row["is_line"], row["head"]) for row in rows}


async def list_candidates(conn: Connection, *, wanted: Mapping[UUID, int]) -> list[Candidate]:
    """Runs that wait in these scopes, at most this many of each, those first that come first; with all their scopes."""
    rows = await conn.fetch(
        """
        SELECT c.run_id, min(p.priority) AS priority, min(p.position) AS position, array_agg(p.scope) AS scopes
        FROM (
            SELECT DISTINCT w.run_id
            FROM unnest((SELECT $1::uuid[]), (SELECT $2::int[])) AS q (scope, most)
            CROSS JOIN LATERAL (
                SELECT p.run_id FROM penstock.places p
                WHERE p.scope = q.scope AND p.waits_since IS NOT NULL
                ORDER BY p.priority, p.position LIMIT q.most OFFSET 0
            ) w
        ) c
        JOIN penstock.places p ON p.run_id = c.run_id AND p.waits_since IS NOT NULL
        GROUP BY c.run_id
        """,
        list(wanted),
        list(wanted.values()),
    )
    return [Candidate(row["run_id"], row["priority"], row["position"], tuple(row["scopes"])) for row in rows]


async def list_heads(conn: Connection, *, run_ids: Collection[UUID]) -> list[Candidate]:
    """Those of these runs that wait, with all scopes in which they do: heads of lines."""
    rows = await conn.fetch(
        """
        SELECT p.run_id, min(p.priority) AS priority, min(p.position) AS position, array_agg(p.scope) AS scopes
        FROM penstock.places p WHERE p.run_id = ANY($1::uuid[]) AND p.waits_since IS NOT NULL GROUP BY p.run_id
        """,
        list(run_ids),
    )
    return [Candidate(row["run_id"], row["priority"], row["position"], tuple(row["scopes"])) for row in rows]


async def list_scopes(conn: Connection, *, run_ids: Collection[UUID]) -> list[Scope]:
    """The scopes in which these runs wait."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT p.environment, p.workflow, p.rule, p.scope FROM penstock.places p
        WHERE p.run_id = ANY($1::uuid[]) AND p.waits_since IS NOT NULL
        """,
        list(run_ids),
    )
    return [Scope(*row) for row in rows]


async def start_turns(
    conn: Connection, *, run_ids: Sequence[UUID], rates: Mapping[UUID, timedelta]
) -> list[RunSummary]:
    """Queue these runs, with all their places taken; returns those that could be: others are held by somebody at this
    moment, or are not due any more. `rates` are the periods of those scopes that count starts.

    Runs are locked before their places, as everywhere.
    """
    rows = await conn.fetch(
        """
        WITH held AS MATERIALIZED (
            SELECT r.id FROM penstock.runs r JOIN penstock.environments e ON e.name = r.environment
            WHERE r.id = ANY(ARRAY(SELECT q FROM unnest($1::uuid[]) AS q ORDER BY q))
              AND r.state || '' = 'scheduled' AND r.parked_at IS NOT NULL
              AND NOT (e.has_pauses AND penstock.find_pause(
                  r.environment, r.workflow, r.chain_id, r.list_id, r.scheduled_at) IS NOT NULL)
            FOR NO KEY UPDATE OF r SKIP LOCKED
        ), placed AS (
            UPDATE penstock.places p SET taken_at = clock_timestamp(), waits_since = NULL
            WHERE p.run_id = ANY(ARRAY(SELECT h.id FROM held h)) AND p.taken_at IS NULL
            RETURNING p.scope
        ), used AS (
            INSERT INTO penstock.rate_uses (scope, until)
            SELECT p.scope, clock_timestamp() + q.per
            FROM placed p JOIN unnest($2::uuid[], $3::interval[]) AS q (scope, per) ON q.scope = p.scope
        )
        SELECT id FROM held
        """,
        run_ids,
        list(rates),
        list(rates.values()),
    )
    # A statement of its own: the trigger that keeps runs without places from being queued sees what the one before did.
    queued = await conn.fetch(
        f"""
        UPDATE penstock.runs r SET state = 'queued', dispatched_at = clock_timestamp()
        WHERE r.id = ANY($1::uuid[]) AND r.state || '' = 'scheduled'
        RETURNING {SUMMARY}, r.priority
        """,
        [row["id"] for row in rows],
    )
    return [summary_from_row(row) for row in sorted(queued, key=lambda row: (row["priority"], row["id"]))]


async def put_off_turns(conn: Connection, *, run_ids: Collection[UUID], delay: timedelta) -> None:
    """Look at the scopes of runs that could not be started again after `delay`. Those that are not due any more, or
    that a pause holds, wait no longer: they will come again.
    """
    await conn.execute(
        """
        WITH gone AS MATERIALIZED (
            SELECT p.run_id, p.rule FROM penstock.places p
            CROSS JOIN LATERAL (SELECT r.* FROM penstock.runs r WHERE r.id = p.run_id OFFSET 0) r
            JOIN penstock.environments e ON e.name = r.environment
            WHERE p.run_id = ANY($1::uuid[]) AND p.waits_since IS NOT NULL
              AND (r.state || '' <> 'scheduled' OR r.parked_at IS NULL OR (e.has_pauses AND penstock.find_pause(
                  r.environment, r.workflow, r.chain_id, r.list_id, r.scheduled_at) IS NOT NULL))
            FOR NO KEY UPDATE OF p SKIP LOCKED
        )
        UPDATE penstock.places p SET waits_since = NULL FROM gone g WHERE p.run_id = g.run_id AND p.rule = g.rule
        """,
        list(run_ids),
    )
    await conn.execute(
        """
        INSERT INTO penstock.turns (environment, workflow, rule, scope, due_at)
        SELECT DISTINCT p.environment, p.workflow, p.rule, p.scope, clock_timestamp() + $2::interval
        FROM penstock.places p WHERE p.run_id = ANY($1::uuid[]) AND p.waits_since IS NOT NULL
        """,
        list(run_ids),
        delay,
    )


async def look_again(conn: Connection, *, scopes: Sequence[Scope]) -> None:
    """Look at these scopes again at once, if anybody waits there."""
    await conn.execute(
        """
        INSERT INTO penstock.turns (environment, workflow, rule, scope)
        SELECT q.environment, q.workflow, q.rule, q.scope
        FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[]) AS q (environment, workflow, rule, scope)
        WHERE EXISTS (SELECT FROM penstock.places p WHERE p.scope = q.scope AND p.waits_since IS NOT NULL)
        """,
        [scope.environment for scope in scopes],
        [scope.workflow for scope in scopes],
        [scope.rule for scope in scopes],
        [scope.id for scope in scopes],
    )


async def expect_turns(conn: Connection, *, scopes: Sequence[tuple[Scope, Bound]]) -> None:
    """Look at these scopes of rates again when the oldest start that counts falls out of its period, where all are used
    up and somebody waits.
    """
    await conn.execute(
        """
        INSERT INTO penstock.turns (environment, workflow, rule, scope, due_at)
        SELECT q.environment, q.workflow, q.rule, q.scope, u.due_at
        FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::int[], $6::interval[])
             AS q (environment, workflow, rule, scope, most, per)
        CROSS JOIN LATERAL (
            SELECT min(u.at) + q.per AS due_at FROM (
                SELECT u.at FROM penstock.rate_uses u WHERE u.scope = q.scope AND u.at > clock_timestamp() - q.per
                ORDER BY u.at DESC LIMIT q.most
            ) u
            HAVING count(*) >= q.most
        ) u
        WHERE EXISTS (SELECT FROM penstock.places p WHERE p.scope = q.scope AND p.waits_since IS NOT NULL)
          AND NOT EXISTS (SELECT FROM penstock.turns t WHERE t.scope = q.scope AND t.due_at > clock_timestamp())
        """,
        [scope.environment for scope, _ in scopes],
        [scope.workflow for scope, _ in scopes],
        [scope.rule for scope, _ in scopes],
        [scope.id for scope, _ in scopes],
        [bound.limit for _, bound in scopes],
        [bound.per for _, bound in scopes],
    )


async def find_next_turn(conn: Connection) -> float | None:
    """Seconds until a scope has to be looked at, by the database's clock; below 0 when overdue, None without any."""
    seconds: float | None = await conn.fetchval(
        "SELECT extract(epoch FROM min(due_at) - clock_timestamp())::float8 FROM penstock.turns"
    )
    return seconds


async def sweep_scopes(conn: Connection, *, after: UUID | None, most: int) -> UUID | None:
    """Have up to `most` scopes looked at in which somebody waits, in order of their ids; the last of them, None when
    there are no more.
    """
    last: UUID | None = await conn.fetchval(
        """
        WITH RECURSIVE s AS (
            (SELECT p.scope, p.run_id, p.rule, 1 AS n FROM penstock.places p
             WHERE p.waits_since IS NOT NULL AND ($1::uuid IS NULL OR p.scope > $1)
             ORDER BY p.scope LIMIT 1)
            UNION ALL
            (SELECT f.scope, f.run_id, f.rule, s.n + 1 FROM s CROSS JOIN LATERAL (
                 SELECT p.scope, p.run_id, p.rule FROM penstock.places p
                 WHERE p.waits_since IS NOT NULL AND p.scope > s.scope ORDER BY p.scope LIMIT 1
             ) f WHERE s.n < $2)
        ), added AS (
            INSERT INTO penstock.turns (environment, workflow, rule, scope)
            SELECT p.environment, p.workflow, p.rule, p.scope
            FROM s JOIN penstock.places p ON p.run_id = s.run_id AND p.rule = s.rule
            WHERE NOT EXISTS (SELECT FROM penstock.turns t WHERE t.scope = s.scope)
        )
        SELECT s.scope FROM s WHERE s.n = $2
        """,
        after,
        most,
    )
    return last


async def delete_old_places(conn: Connection, *, most: int) -> int:
    """Forget places of runs that are gone, starts that no longer count, and what no run will replace; how many."""
    deleted: int = await conn.fetchval(
        """
        WITH gone AS (
            DELETE FROM penstock.places p USING (
                SELECT p.run_id, p.rule FROM penstock.places p
                WHERE p.is_done AND NOT EXISTS (SELECT FROM penstock.runs r WHERE r.id = p.run_id)
                ORDER BY p.position LIMIT $1 FOR UPDATE SKIP LOCKED
            ) g WHERE p.run_id = g.run_id AND p.rule = g.rule RETURNING 1
        ), used AS (
            DELETE FROM penstock.rate_uses u WHERE u.ctid = ANY(ARRAY(
                SELECT u.ctid FROM penstock.rate_uses u WHERE u.until < clock_timestamp() ORDER BY u.until LIMIT $1
                FOR UPDATE SKIP LOCKED
            )) RETURNING 1
        ), quiet AS (
            DELETE FROM penstock.debounces d WHERE d.scope = ANY(ARRAY(
                SELECT d.scope FROM penstock.debounces d
                WHERE d.first_at < clock_timestamp() - interval '1 hour'
                  AND (SELECT r.id FROM penstock.runs r WHERE r.id = d.run_id AND r.finished_at IS NULL) IS NULL
                ORDER BY d.first_at LIMIT $1 FOR UPDATE SKIP LOCKED
            )) RETURNING 1
        )
        SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM used) + (SELECT count(*) FROM quiet)
        """,
        most,
    )
    return deleted
