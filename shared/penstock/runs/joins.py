"""Runs that wait for the ends of others: `wait_for_runs`. A join is rows, and nothing looks at it but what ends.

*Beginning.* The executor ends the attempt as `waiting` and inserts the wait, with a row for each run (or one for the
list) that it waits for, in one transaction. A scheduler then has each of these runs note its end (`is_awaited`);
one that has ended by then is done. *Ends.* A trigger notes the end of such a run in `penstock.ends`, in the transaction
that ends it; a scheduler takes the notes, marks the rows as done, and wakes the run that waits when none is left. Since
waking deletes the wait, and with it the rows, that happens once. *A list* is done when it is finished.

A scheduler that dies loses nothing: notes and marks are one transaction. What is noted twice counts once.
"""

from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection
from penstock.domain.ids import child_run_id
from penstock.domain.runs import RunSummary
from penstock.runs.waits_and_signals import wake_runs

MAX_RESULTS: Final = 1000
"""Results that a join answers."""
_STATES: Final = ("succeeded", "failed", "cancelled", "terminated", "skipped")


async def find_awaited(conn: Connection, *, environment: str, ids: Sequence[UUID]) -> set[UUID]:
    """Those of these ids that are runs or lists of the environment."""
    rows = await conn.fetch(
        """
        SELECT r.id FROM penstock.runs r WHERE r.id = ANY($1::uuid[]) AND r.environment = $2
        UNION ALL
        SELECT l.id FROM penstock.lists l WHERE l.id = ANY($1::uuid[]) AND l.environment = $2
        """,
        ids,
        environment,
    )
    return {row["id"] for row in rows}


async def learn_joins(conn: Connection, *, most: int) -> tuple[set[UUID], int]:
    """Have runs note their ends for whom somebody waits since just now; returns who may have nothing left to wait for,
    and how many rows were looked at. Skips those that another scheduler has in hand.
    """
    rows = await conn.fetch(
        """
        SELECT j.waiter, j.awaited FROM penstock.joins j WHERE NOT j.is_known LIMIT $1 FOR UPDATE SKIP LOCKED
        """,
        most,
    )
    if not rows:
        return set(), 0
    awaited = [row["awaited"] for row in rows]
    ended = await conn.fetch(
        """
        WITH held AS MATERIALIZED (
            SELECT r.id FROM penstock.runs r
            WHERE r.id = ANY(ARRAY(SELECT q FROM unnest($1::uuid[]) AS q ORDER BY q))
            ORDER BY r.id FOR NO KEY UPDATE
        ), told AS (
            UPDATE penstock.runs r SET is_awaited = true FROM held h
            WHERE r.id = h.id RETURNING r.id, r.finished_at IS NOT NULL AS is_ended
        )
        SELECT t.id FROM told t WHERE t.is_ended
        UNION ALL
        SELECT l.id FROM penstock.lists l WHERE l.id = ANY($1::uuid[]) AND l.state IN ('finished', 'failed')
        """,
        awaited,
    )
    done = {row["id"] for row in ended}
    await conn.execute(
        """
        UPDATE penstock.joins j SET is_known = true, is_done = j.is_done OR j.awaited = ANY($3::uuid[])
        FROM unnest($1::uuid[], $2::uuid[]) AS q (waiter, awaited)
        WHERE j.waiter = q.waiter AND j.awaited = q.awaited
        """,
        [row["waiter"] for row in rows],
        awaited,
        list(done),
    )
    return {row["waiter"] for row in rows if row["awaited"] in done}, len(rows)


async def mark_done(conn: Connection, *, awaited: Collection[UUID]) -> set[UUID]:
    """These runs or lists have ended: returns who may have nothing left to wait for."""
    rows = await conn.fetch(
        """
        WITH held AS MATERIALIZED (
            SELECT j.waiter, j.awaited FROM penstock.joins j WHERE j.awaited = ANY($1::uuid[]) AND NOT j.is_done
            ORDER BY j.waiter, j.awaited FOR UPDATE
        )
        UPDATE penstock.joins j SET is_done = true FROM held h
        WHERE j.waiter = h.waiter AND j.awaited = h.awaited
        RETURNING j.waiter
        """,
        list(awaited),
    )
    return {row["waiter"] for row in rows}


async def wake_joined(conn: Connection, *, waiters: Collection[UUID]) -> list[RunSummary]:
    """Wake those of these runs that have nothing left to wait for, each with the counts and results of what it waited
    for; returns them, `queued`.
    """
    rows = await conn.fetch(
        """
        SELECT r.id FROM penstock.runs r
        JOIN penstock.waits w ON w.run_id = r.id
        WHERE r.id = ANY(ARRAY(SELECT q FROM unnest($1::uuid[]) AS q ORDER BY q)) AND r.state || '' = 'waiting'
          AND w.is_join
          AND NOT EXISTS (SELECT FROM penstock.joins j WHERE j.waiter = r.id AND NOT j.is_done)
        ORDER BY r.id
        FOR UPDATE OF r, w
        """,
        list(waiters),
    )
    woken: list[RunSummary] = []
    for row in rows:
        payload = await describe_joined(conn, waiter=row["id"])
        woken += await wake_runs(conn, run_ids=[row["id"]], payload=payload)
    return woken


async def describe_joined(conn: Connection, *, waiter: UUID) -> JsonValue:
    """The answer of a join: how many of its runs ended how, and the results of the first MAX_RESULTS, in order."""
    lists = await conn.fetch(
        """
        SELECT l.* FROM penstock.joins j JOIN penstock.lists l ON l.id = j.awaited
        WHERE j.waiter = $1 ORDER BY j.position
        """,
        waiter,
    )
    counts = await conn.fetch(
        """
        SELECT r.state, count(*) AS n FROM penstock.joins j JOIN penstock.runs r ON r.id = j.awaited
        WHERE j.waiter = $1 GROUP BY r.state
        """,
        waiter,
    )
    found = {state: sum(row["n"] for row in counts if row["state"] == state) for state in _STATES}
    found = {state: found[state] + sum(row[state] for row in lists) for state in _STATES}
    total = sum(row["n"] for row in counts) + sum(row["total"] for row in lists)
    ids = [row["awaited"] for row in await conn.fetch(
        "SELECT j.awaited FROM penstock.joins j WHERE j.waiter = $1 ORDER BY j.position LIMIT $2", waiter, MAX_RESULTS
    )]  # fmt: skip
    of_lists = {row["id"]: row["total"] for row in lists}
    runs: list[UUID] = []
    for id in ids:
        items = min(of_lists[id], MAX_RESULTS - len(runs)) if id in of_lists else 0
        runs += [child_run_id(id, str(index)) for index in range(items)] if id in of_lists else [id]
    results = {row["id"]: row["result"] for row in await conn.fetch(
        "SELECT r.id, r.result FROM penstock.runs r WHERE r.id = ANY($1::uuid[])", runs[:MAX_RESULTS]
    )}  # fmt: skip
    return {"total": total, **found, "results": [results.get(id) for id in runs[:MAX_RESULTS]]}
