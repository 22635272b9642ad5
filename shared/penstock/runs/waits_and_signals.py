"""Runs that wait: for a time, or for a signal and until a time. A waiting run is rows in PostgreSQL, and nothing
anywhere else.

*Beginning.* The executor ends the attempt as `waiting`, records the step as `waiting` and inserts the wait, in one
transaction. *Ending.* A scheduler (the time has come), the request that posts the signal, or the executor itself (the
signal was kept for it) makes the run `queued`, records the step as `succeeded` with what came, and deletes the wait, in
one transaction: the next attempt finds the step finished. So a wait ends once, no matter which of them comes first, and
a retry does not wait again. A run that gets to the same step although its wait has not ended (somebody has queued it
meanwhile) continues waiting until the same time.

*A run and its signal meet* by an advisory lock on the signal's name: shared by those who begin to wait, exclusive for
those who post. Whichever transaction is second sees what the first has committed: the wait, or the kept signal. No
signal falls in between.

*Locks* are taken in one order: names of signals, then runs by id, then their waits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection
from penstock.domain.runs import RunSummary
from penstock.runs.summaries import SUMMARY, summary_from_row

SIGNAL_LIFETIME: Final = timedelta(hours=24)
"""How long a signal is kept for a run that will wait for it."""


_MAX_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class Wait:
    """What a run waits for in the step of that path: a time, a signal, or the ends of runs or of a list
    (`awaited`), and until a time (None: forever).

    Of a signal's payload, every member of `match` has to be equal; None takes any payload. `is_early`: at `until` the
    run continues with something else, and the step has still to wait.
    """

    step: str
    until: datetime | None
    signal: str | None = None
    match: dict[str, JsonValue] | None = None
    awaited: tuple[UUID, ...] = ()
    is_early: bool = False
    form: dict[str, JsonValue] | None = None
    """Of a signal: that a link may bring it, too, and the `schema` of its payload."""


async def lock_signals(conn: Connection, *, environment: str, names: Sequence[str]) -> None:
    """Keep these signals from being posted until the transaction ends."""
    await conn.execute(
        """
        SELECT pg_advisory_xact_lock_shared(hashtextextended('signal/' || $1 || '/' || q.name, 0))
        FROM (SELECT DISTINCT name FROM unnest($2::text[]) AS u (name) ORDER BY name) q
        """,
        environment,
        names,
    )


async def begin_waits(conn: Connection, *, waits: Sequence[tuple[UUID, str, Wait]]) -> set[UUID]:
    """Have runs (with their environments) wait; returns those whose signal was kept for them: they are queued already.

    This transaction has made the runs `waiting`, and has called `lock_signals`.
    """
    await conn.execute(
        """
        INSERT INTO penstock.waits AS w (
            run_id, environment, step, until, signal, match, match_name, match_hash, is_join, is_early, form)
        SELECT q.run_id, q.environment, q.step, q.until, q.signal, q.match, m.key, jsonb_hash_extended(m.value, 0),
               q.is_join, q.is_early, q.form
        FROM jsonb_to_recordset($1) AS q (run_id uuid, environment text, step text, until timestamptz, signal text,
            match jsonb, is_join boolean, is_early boolean, form jsonb)
        LEFT JOIN LATERAL (SELECT * FROM jsonb_each(q.match) AS j WHERE j.value <> 'null' ORDER
            BY j.key LIMIT 1) m ON true
        ON CONFLICT (run_id) DO UPDATE
            SET until = CASE WHEN w.step = EXCLUDED.step AND NOT (w.is_early OR EXCLUDED.is_early) THEN w.until
                             ELSE EXCLUDED.until END,
                step = EXCLUDED.step, signal = EXCLUDED.signal, match = EXCLUDED.match,
                match_name = EXCLUDED.match_name, match_hash = EXCLUDED.match_hash,
                is_join = EXCLUDED.is_join, is_early = EXCLUDED.is_early, form = EXCLUDED.form
        """,
        [
            {
                "run_id": str(run_id), "environment": environment, "step": wait.step, "until": wait.until,
                "signal": wait.signal,
                "match": wait.match or None, "is_join": bool(wait.awaited),
                "is_early": wait.is_early,
                "form": wait.form,
            }
            for run_id, environment, wait in waits
        ],
    )  # fmt: skip
    await _insert_joins(conn, waits=waits)
    woken: set[UUID] = set()
    for run_id in await _list_expected(conn, run_ids=[run_id for run_id, _, wait in waits if wait.signal is not None]):
        kept = await _take_kept_signal(conn, run_id=run_id)
        if kept is not None:
            woken.update(run.id for run in await wake_runs(conn, run_ids=[run_id], payload=kept[0]))
    return woken


async def _insert_joins(conn: Connection, *, waits: Sequence[tuple[UUID, str, Wait]]) -> None:
    """`penstock.runs.joins` has the whole story."""
    for run_id, _, wait in waits:
        if wait.awaited:
            await conn.execute(
                """
                INSERT INTO penstock.joins (waiter, awaited, position)
                SELECT $1, q.awaited, q.position FROM unnest($2::uuid[]) WITH ORDINALITY AS q (awaited, position)
                ON CONFLICT DO NOTHING
                """,
                run_id,
                wait.awaited,
            )


async def _list_expected(conn: Connection, *, run_ids: Sequence[UUID]) -> list[UUID]:
    """Those of these runs for whom a signal of the name they wait for is kept, whether or not it matches."""
    if not run_ids:
        return []
    rows = await conn.fetch(
        """
        SELECT w.run_id
        FROM penstock.waits w
        WHERE w.run_id = ANY($1::uuid[])
          AND EXISTS (SELECT FROM penstock.signals s WHERE s.environment = w.environment AND s.name = w.signal)
        ORDER BY w.run_id
        """,
        run_ids,
    )
    return [row["run_id"] for row in rows]


async def _take_kept_signal(conn: Connection, *, run_id: UUID) -> tuple[JsonValue] | None:
    """Remove the oldest kept signal that this run waits for; its payload, or None when there is none."""
    row = await conn.fetchrow(
        """
        DELETE FROM penstock.signals
        WHERE id = (
            SELECT s.id
            FROM penstock.waits w
            JOIN penstock.signals s ON s.environment = w.environment AND s.name = w.signal
            WHERE w.run_id = $1 AND s.posted_at > statement_timestamp() - $2::interval
              AND NOT EXISTS (
                  SELECT FROM jsonb_each(w.match) AS m WHERE m.value IS DISTINCT FROM coalesce(s.payload -> m.key,
                         'null')
              )
            ORDER BY s.id
            LIMIT 1
            FOR UPDATE OF s
        )
        RETURNING payload
        """,
        run_id,
        SIGNAL_LIFETIME,
    )
    return None if row is None else (row["payload"],)


async def post_signal(conn: Connection, *, environment: str, name: str, payload: JsonValue) -> list[RunSummary]:
    """Wake all runs that wait for this signal, each once, with the payload as the result of its step; returns them,
    `queued`.

    When there are none, the signal is kept for SIGNAL_LIFETIME, for the first run that waits for it.
    """
    await conn.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('signal/' || $1 || '/' || $2, 0))", environment, name
    )
    woken: list[RunSummary] = []
    found = await _list_matching(conn, environment=environment, name=name, payload=payload)
    for first in range(0, len(found), _MAX_AT_ONCE):  # so that no statement takes too long, however many there are
        some = found[first : first + _MAX_AT_ONCE]
        waiting = await _lock_matching(conn, run_ids=some, environment=environment, name=name, payload=payload)
        woken += await wake_runs(conn, run_ids=waiting, payload=payload) if waiting else []
    if not woken:
        await conn.execute(
            "INSERT INTO penstock.signals (environment, name, payload) VALUES ($1, $2, coalesce($3::jsonb, 'null'))",
            environment,
            name,
            payload,
        )
    return woken


async def _list_matching(conn: Connection, *, environment: str, name: str, payload: JsonValue) -> list[UUID]:
    # OFFSET 0 keeps the planner from reading all that wait for the signal: without statistics, it takes them for a few.
    rows = await conn.fetch(
        """
        SELECT w.run_id
        FROM penstock.waits w
        WHERE w.environment = $1 AND w.signal = $2 AND w.match_name IS NULL
        UNION ALL
        SELECT w.run_id
        FROM jsonb_each($3) AS m
        CROSS JOIN LATERAL (
            SELECT w.run_id
            FROM penstock.waits w
            WHERE w.environment = $1 AND w.signal = $2
              AND w.match_name = m.key AND w.match_hash = jsonb_hash_extended(m.value, 0)
            OFFSET 0
        ) w
        ORDER BY run_id
        """,
        environment,
        name,
        _members(payload),
    )
    return [row["run_id"] for row in rows]


async def _lock_matching(
    conn: Connection, *, run_ids: Sequence[UUID], environment: str, name: str, payload: JsonValue
) -> list[UUID]:
    """Lock those of these runs, and their waits, that still wait for this signal. The ids are in order."""
    # Each run is looked up by itself, in the order given. A join of the tables, or an array made in the statement, is
    # searched from its beginning for each row as soon as the planner takes the tables for small: a thousand times as
    # much for a thousand times as many.
    rows = await conn.fetch(
        """
        SELECT w.run_id
        FROM unnest($1::uuid[]) AS q (id)
        CROSS JOIN LATERAL (
            SELECT r.id FROM penstock.runs r WHERE r.id = q.id AND r.state || '' = 'waiting' FOR UPDATE
        ) r
        CROSS JOIN LATERAL (
            SELECT w.run_id FROM penstock.waits w
            WHERE w.run_id = r.id AND w.environment = $2 AND w.signal || '' = $3::text
              AND NOT EXISTS (SELECT FROM jsonb_each(w.match) AS m
                              WHERE m.value IS DISTINCT FROM coalesce($4::jsonb -> m.key, 'null'))
            FOR UPDATE
        ) w
        """,
        run_ids,
        environment,
        name,
        _members(payload),
    )
    return [row["run_id"] for row in rows]


def _members(payload: JsonValue) -> dict[str, JsonValue]:
    """What a run's `match` is compared with."""
    return payload if isinstance(payload, dict) else {}


async def wake_runs(
    conn: Connection, *, run_ids: Sequence[UUID], payload: JsonValue = None, is_time_over: bool = False
) -> list[RunSummary]:
    """Queue waiting runs that this transaction has locked, with `payload` as the result of the step in which they
    wait. When their time is over, the step of one that was to continue early is forgotten: it has still to wait.
    """
    rows = await conn.fetch(
        f"""
        WITH ended AS (
            DELETE FROM penstock.waits w WHERE w.run_id = ANY($1::uuid[])
            RETURNING w.run_id, w.is_early AND $3 AS is_early
        ), forgotten AS (
            DELETE FROM penstock.steps s USING ended e
            WHERE s.run_id = e.run_id AND s.outcome = 'waiting' AND e.is_early
        ), recorded AS (
            UPDATE penstock.steps s
            SET outcome = 'succeeded', finished_at = clock_timestamp(), result = $2
            FROM ended e
            WHERE s.run_id = e.run_id AND s.outcome = 'waiting' AND NOT e.is_early
        )
        UPDATE penstock.runs r
        SET state = 'queued', scheduled_at = clock_timestamp(), dispatched_at = clock_timestamp()
        WHERE r.id = ANY($1::uuid[]) AND r.state || '' = 'waiting'
        RETURNING {SUMMARY}
        """,
        run_ids,
        payload,
        is_time_over,
    )
    return [summary_from_row(row) for row in rows]


async def forget_waits(conn: Connection, *, run_ids: Sequence[UUID]) -> None:
    """Runs that were waiting wait no more, because they have ended."""
    await conn.execute("DELETE FROM penstock.waits w WHERE w.run_id = ANY($1::uuid[])", run_ids)


async def delete_expired_signals(conn: Connection, *, most: int) -> int:
    """Forget kept signals that nobody has waited for in time; how many."""
    deleted: int = await conn.fetchval(
        """
        WITH expired AS (
            SELECT s.id
            FROM penstock.signals s
            WHERE s.posted_at < statement_timestamp() - $1::interval
            ORDER BY s.posted_at
            LIMIT $2
            FOR UPDATE SKIP LOCKED
        ), deleted AS (
            DELETE FROM penstock.signals s USING expired e WHERE s.id = e.id RETURNING s.id
        )
        SELECT count(*) FROM deleted
        """,
        SIGNAL_LIFETIME,
        most,
    )
    return deleted
