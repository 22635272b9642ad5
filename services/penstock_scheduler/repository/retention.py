"""Deletion of what has been kept long enough, in batches that hold no lock for long.

*Model.* A chain goes as a whole: when all of its runs have ended and the last end is longer ago than its environment's
`retention`. What lives, waits, belongs to a list that is not finished, or holds up a sequence keeps its whole chain, so
that no run loses its parent, its ancestors or its list while anybody may look at them.

*Order.* Runs come up in the order in which they were created, each once: `penstock.retention` says how far that is. A
chain that cannot go yet is noted in `penstock.kept_chains`, with the time at which to look again. Of a large chain the
root goes last, so that what is left of it is still found. A scheduler that dies in between has lost nothing: the next
one continues.

*Twice.* One scheduler works at a time: the others find the lock taken, and rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from penstock.db import Connection

MIN_KEPT: Final = timedelta(hours=25)
"""An idempotency key holds for 24 hours, and so must its run."""
_MARGIN: Final = timedelta(hours=1)
"""Most runs end in the hour in which they are created: an hour later they can go when they come up, and need no second
look.
"""
_LOOK_AGAIN: Final = timedelta(days=1)
_LOCK: Final = 0x52455441  # "RETA": one scheduler deletes at a time


@dataclass(frozen=True, slots=True)
class Passage:
    """Where the look at an environment's runs stands; what ended before `cutoff` may go."""

    environment: str
    reached_at: datetime
    reached_id: UUID
    cutoff: datetime


class Deleted(NamedTuple):
    """How much was deleted of each kind."""

    runs: int = 0
    chains: int = 0
    lists: int = 0
    deliveries: int = 0
    lines: int = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """A chain that came up. `ended_at` is None while something of it lives, or a list of its runs is not finished."""

    id: UUID
    ended_at: datetime | None


async def begin_turn(conn: Connection, *, environment: str) -> Passage | None:
    """Where deletion stands in an environment; None while another scheduler works on any. To be called in a
    transaction.
    """
    if not await conn.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK):
        return None
    row = await conn.fetchrow(
        """
        SELECT t.environment, greatest(t.reached_at, '0001-01-02T00:00:00Z') AS reached_at, t.reached_id,
               clock_timestamp() - greatest(e.retention::interval, $2) AS cutoff
        FROM penstock.retention t
        JOIN penstock.environments e ON e.name = t.environment
        WHERE t.environment = $1
        """,
        environment,
        MIN_KEPT,
    )
    return None if row is None else Passage(**row)


async def pass_runs(conn: Connection, passage: Passage, *, most: int) -> tuple[list[UUID], bool]:
    """The chains of the next runs that are old enough, and whether there may be more; moves on behind those runs."""
    rows = await conn.fetch(
        """
        WITH page AS MATERIALIZED (
            SELECT r.environment, r.chain_id, r.created_at, r.id
            FROM penstock.runs r
            WHERE r.created_at >= $2 AND r.created_at < $4::timestamptz AND (r.created_at, r.id) > ($2, $3::uuid)
            ORDER BY r.created_at, r.id
            LIMIT $5
        ), moved AS (
            UPDATE penstock.retention t SET reached_at = p.created_at, reached_id = p.id
            FROM (SELECT created_at, id FROM page ORDER BY created_at DESC, id DESC LIMIT 1) p
            WHERE t.environment = $1
        )
        SELECT p.environment, p.chain_id FROM page p
        """,
        passage.environment,
        passage.reached_at,
        passage.reached_id,
        passage.cutoff - _MARGIN,
        most,
    )
    chains = {row["chain_id"] for row in rows if row["environment"] == passage.environment}
    return sorted(chains), len(rows) == most


async def list_due_chains(conn: Connection, *, environment: str, most: int) -> list[UUID]:
    """Chains that were kept when they came up and are to be looked at again, those first that wait longest."""
    rows = await conn.fetch(
        """
        SELECT chain_id FROM penstock.kept_chains
        WHERE environment = $1 AND look_at <= statement_timestamp()
        ORDER BY look_at
        LIMIT $2
        """,
        environment,
        most,
    )
    return [row["chain_id"] for row in rows]


async def judge_chains(conn: Connection, *, chain_ids: Sequence[UUID]) -> list[Judged]:
    """Since when these chains have ended. One that has a run that lives, a list that is not finished, or a run that
    holds up a sequence or that another run waits for, has not.
    """
    rows = await conn.fetch(
        """
        WITH open_lists AS MATERIALIZED (
            SELECT l.id, coalesce(
                (SELECT p.chain_id FROM penstock.runs p WHERE p.id = l.parent_run_id), l.claimed_chain_id) AS chain_id
            FROM penstock.lists l
            WHERE l.state IN ('expanding', 'expanded')
        )
        SELECT q.id,
               CASE WHEN j.is_live OR q.id = ANY(ARRAY(SELECT o.chain_id FROM open_lists o)) THEN NULL
                    ELSE greatest(j.ended_at, (SELECT c.stopped_at FROM penstock.chains c WHERE c.id = q.id))
               END AS ended_at
        FROM unnest((SELECT $1::uuid[])) AS q (id)
        CROSS JOIN LATERAL (
            SELECT coalesce(bool_or(
                       r.finished_at IS NULL OR r.list_id = ANY(ARRAY(SELECT o.id FROM open_lists o))
                       OR (r.is_limited AND EXISTS (
                           SELECT FROM penstock.places p
                           WHERE p.run_id = r.id AND p.rule = 'sequence' AND NOT p.is_done))
                       OR EXISTS (SELECT FROM penstock.joins j WHERE j.awaited = ANY(ARRAY[r.id, r.list_id]))
                   ), false) AS is_live,
                   coalesce(max(r.finished_at), '0001-01-02T00:00:00Z') AS ended_at
            FROM penstock.runs r WHERE r.chain_id = q.id AND (r.id = q.id OR r.chain_id <> r.id)
            OFFSET 0
        ) j
        """,
        chain_ids,
    )
    return [Judged(row["id"], row["ended_at"]) for row in rows]


async def delete_runs(conn: Connection, passage: Passage, *, chain_ids: Sequence[UUID], most: int) -> int:
    """Delete runs of these chains with their steps, roots last, at most `most`; how many. Ticks keep how theirs ended.

    A run that was made live again meanwhile stays.
    """
    deleted: int = await conn.fetchval(
        """
        WITH gone AS (
            DELETE FROM penstock.runs r
            WHERE r.ctid = ANY(ARRAY(
                (SELECT n.ctid FROM penstock.runs n WHERE n.chain_id = ANY($1::uuid[]) AND n.chain_id <> n.id LIMIT $2)
                UNION ALL
                (SELECT o.ctid FROM penstock.runs o WHERE o.id = ANY($1::uuid[]) AND o.id = o.chain_id)
                LIMIT $2
            )) AND r.finished_at < $3
            RETURNING r.id, r.state, r.context -> 'recurrence' AS tick, r.created_at,
                      CASE WHEN penstock.is_app_user(r.context) THEN r.context #>> '{user,_id}' END AS user_id
        ), steps AS (
            DELETE FROM penstock.steps s WHERE s.run_id = ANY(ARRAY(SELECT g.id FROM gone g))
        ), of_users AS (
            DELETE FROM penstock.user_runs u
            USING (SELECT * FROM gone WHERE user_id IS NOT NULL LIMIT $2) g
            WHERE u.user_id = g.user_id AND u.created_at = g.created_at AND u.run_id = g.id
        ), letters AS (
            DELETE FROM penstock.dead_letters d WHERE d.id = ANY(ARRAY(SELECT g.id FROM gone g))
        ), ticks AS (
            UPDATE penstock.recurrence_ticks t SET run_state = g.state
            FROM (SELECT * FROM gone WHERE tick IS NOT NULL LIMIT $2) g
            WHERE t.recurrence_id = (g.tick ->> 'id')::uuid AND t.tick_at = (g.tick ->> 'tick_at')::timestamptz
              AND t.run_id = g.id
        )
        SELECT count(*) FROM gone
        """,
        chain_ids,
        most,
        passage.cutoff,
    )
    return deleted


async def forget_chains(conn: Connection, passage: Passage, *, chain_ids: Sequence[UUID]) -> list[UUID]:
    """Forget what is stored of those of these chains that have no runs left; returns them."""
    rows = await conn.fetch(
        """
        WITH gone AS MATERIALIZED (
            SELECT q.id FROM unnest((SELECT $1::uuid[])) AS q (id)
            WHERE NOT EXISTS (
                SELECT FROM penstock.runs r WHERE r.chain_id = q.id AND (r.id = q.id OR r.chain_id <> r.id) OFFSET 0
            )
        ), chains AS (
            DELETE FROM penstock.chains c
            WHERE c.id = ANY(ARRAY(SELECT g.id FROM gone g)) AND coalesce(c.stopped_at < $2, true)
        ), grants AS (
            DELETE FROM penstock.chain_grants c WHERE c.chain_id = ANY(ARRAY(SELECT g.id FROM gone g))
        ), kept AS (
            DELETE FROM penstock.kept_chains k WHERE k.chain_id = ANY(ARRAY(SELECT g.id FROM gone g))
        )
        SELECT id FROM gone
        """,
        chain_ids,
        passage.cutoff,
    )
    return [row["id"] for row in rows]


async def keep_chains(conn: Connection, passage: Passage, *, chains: Sequence[Judged]) -> None:
    """Note that these chains are looked at again: when they have been over for long enough, else tomorrow."""
    ordered = sorted(chains, key=lambda chain: chain.id)
    await conn.execute(
        """
        INSERT INTO penstock.kept_chains AS k (chain_id, environment, look_at)
        SELECT q.id, $1, greatest(
            statement_timestamp() + CASE WHEN q.ended_at IS NULL THEN $4::interval ELSE '0' END,
            q.ended_at + (statement_timestamp() - $5::timestamptz))
        FROM unnest($2::uuid[], $3::timestamptz[]) AS q (id, ended_at)
        ON CONFLICT (chain_id) DO UPDATE SET look_at = EXCLUDED.look_at
        """,
        passage.environment,
        [chain.id for chain in ordered],
        [chain.ended_at for chain in ordered],
        _LOOK_AGAIN,
        passage.cutoff,
    )


async def delete_lists(conn: Connection, passage: Passage, *, most: int) -> int:
    """Delete lists that are over for long enough and have no runs left, with their items; how many."""
    rows = await conn.fetch(
        """
        DELETE FROM penstock.lists
        WHERE id = ANY(ARRAY(
            SELECT l.id FROM penstock.lists l
            WHERE l.environment = $1 AND l.state IN ('finished', 'failed') AND l.finished_at < $2
              AND NOT EXISTS (SELECT FROM penstock.runs r WHERE r.list_id = l.id)
              AND NOT EXISTS (SELECT FROM penstock.joins j WHERE j.awaited = l.id)
            ORDER BY l.finished_at
            LIMIT $3
        )) AND state IN ('finished', 'failed')
        RETURNING id
        """,
        passage.environment,
        passage.cutoff,
        most,
    )
    return len(rows)


async def note_deleted(conn: Connection, *, environment: str, deleted: Deleted) -> None:
    """Add to what was deleted of an environment so far, which `penstock doctor` shows."""
    if any(deleted):
        await conn.execute(
            """
            UPDATE penstock.retention
            SET runs = runs + $2, chains = chains + $3, lists = lists + $4, deliveries = deliveries + $5,
                lines = lines + $6, worked_at = clock_timestamp()
            WHERE environment = $1
            """,
            environment,
            *deleted,
        )
