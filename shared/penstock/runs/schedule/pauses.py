"""Pauses of the schedule: nothing that one of them matches is started until it is lifted.

*In force.* A pause holds from its commit on, in the statements that start anything: a run that is due at admission is
stored as `scheduled`, one that is due is parked instead of dispatched, a queued one is not claimed (and parked by
`hold_back`, which looks through all that is queued once for each new pause, a window at a time, and then only at what
was queued since), and so it is with waits that are over and ticks that are due. Runs that are being performed
continue. Parked rows are in none of the indexes of due rows, so they keep nobody waiting.

*Lifted.* The row stays, with `lifted_at`, until a scheduler has released all that it had parked and that no other pause
matches, in batches; so a scheduler that dies in between harms nothing. What is dropped is cancelled there too. Nothing
matches a lifted pause that is not parked already, so what becomes due later runs. The pause of a list is lifted when
the list has finished.

*Without pauses* all of this costs a look at `environments.has_pauses`, a row that is read anyway.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection, Record
from penstock.domain.runs import RunSummary
from penstock.domain.schedule import Missed, ScheduleFilter
from penstock.runs.cancellations import cancel_runs
from penstock.store.audit import Act, AuditAction, note_acts

_MATCHES_RUN: Final = "penstock.matches_pause(p, r.environment, r.workflow, r.chain_id, r.list_id, r.scheduled_at)"
_IS_HELD_RUN: Final = (
    "penstock.find_pause(r.environment, r.workflow, r.chain_id, r.list_id, r.scheduled_at) IS NOT NULL"
)


SEEN_LATE: Final = timedelta(seconds=2)
"""How long a transaction may take that has queued a run, and be seen by the next look. What takes longer is seen when
its run is dispatched again.
"""
# The window comes from the index of queued runs by the time of their dispatch, in its order, and each pause is compared
# with it as a row: neither grows with what is queued. The subselect keeps the planner from the other partial indexes.
_PARK: Final = f"""
    WITH looked AS MATERIALIZED (
        SELECT r.id, r.dispatched_at, r.environment, r.workflow, r.chain_id, r.list_id, r.scheduled_at
        FROM penstock.runs r
        WHERE r.finished_at IS NULL AND r.indexed_state IS NULL AND r.state = 'queued'
          AND r.dispatched_at >= coalesce($1::timestamptz, '-infinity')
        ORDER BY r.dispatched_at
        LIMIT $2
    ), held AS MATERIALIZED (
        SELECT h.id FROM penstock.runs h
        WHERE h.id = ANY(ARRAY(
            SELECT r.id FROM looked r
            WHERE EXISTS (SELECT FROM penstock.pauses p WHERE p.lifted_at IS NULL AND {_MATCHES_RUN})
        ))
        FOR NO KEY UPDATE OF h SKIP LOCKED
    ), parked AS (
        UPDATE penstock.runs r
        SET state = 'scheduled', dispatched_at = NULL, parked_at = clock_timestamp()
        WHERE r.id = ANY(ARRAY(SELECT h.id FROM held h)) AND r.state || '' = 'queued'
        RETURNING r.id
    )
    SELECT (SELECT count(*) FROM parked) AS parked, count(*) AS looked,
           CASE WHEN count(*) < $2 THEN statement_timestamp() - $3::interval
                WHEN max(l.dispatched_at) = $1 THEN $1 + interval '1 microsecond'
                ELSE max(l.dispatched_at) END AS next_since
    FROM looked l
    """


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause that is in force."""

    id: UUID
    of: ScheduleFilter
    note: str | None
    paused_at: datetime


@dataclass(frozen=True, slots=True)
class Released:
    """What a turn has released, and which runs it has dropped, of what was parked."""

    runs: int
    dropped: list[RunSummary]


async def pause_schedule(conn: Connection, *, of: ScheduleFilter, note: str | None, actor: str | None = None) -> Pause:
    """Start nothing that `of` matches until it is lifted; returns the pause, the one there is if it was paused before.
    To be called in a transaction. `actor` is who does it, for the audit.
    """
    await _take_turn(conn, of.environment)
    found = await _find_same(conn, of)
    if found is not None:
        return found
    row = await conn.fetchrow(
        """
        INSERT INTO penstock.pauses (environment, workflow, chain_id, list_id, since, until, note)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        RETURNING *
        """,
        *_columns(of),
        note,
    )
    await conn.execute("UPDATE penstock.environments SET has_pauses = true WHERE name = $1", of.environment)
    assert row is not None, "an insert returns its row"
    pause = _from_row(row)
    if actor is not None:
        after: dict[str, JsonValue] = {**of.describe(), "note": note}
        await note_acts(conn, [Act(of.environment, actor, AuditAction.SCHEDULE_PAUSE, str(pause.id), None, after)])
    return pause


async def lift_pauses(
    conn: Connection, *, of: ScheduleFilter, missed: Missed, is_all: bool = False, actor: str | None = None
) -> list[Pause]:
    """Lift the pause of exactly that filter, or all of the environment; returns those that were lifted. To be called in
    a transaction. `actor` is who does it, for the audit.
    """
    await _take_turn(conn, of.environment)
    same = None if is_all else await _find_same(conn, of)
    if not is_all and same is None:
        return []
    if missed is Missed.DROP:
        await _park_due(conn, environment=of.environment)
    rows = await conn.fetch(
        """
        UPDATE penstock.pauses SET lifted_at = clock_timestamp(), drops = $3
        WHERE environment = $1 AND lifted_at IS NULL AND ($2::uuid IS NULL OR id = $2)
        RETURNING *
        """,
        of.environment,
        None if same is None else same.id,
        missed is Missed.DROP,
    )
    await _note_whether_paused(conn, of.environment)
    lifted = [_from_row(row) for row in rows]
    if actor is not None:
        await note_acts(conn, [_resumption(pause, missed, actor) for pause in lifted])
    return lifted


async def hold_list(conn: Connection, *, environment: str, list_id: UUID, note: str) -> None:
    """Start nothing of a list any more that is not at its end; the pause is lifted when it is. To be called in a
    transaction.
    """
    # The lock keeps the list from finishing before the pause is there to be lifted.
    is_open: bool | None = await conn.fetchval(
        "SELECT l.state IN ('expanding', 'expanded') FROM penstock.lists l WHERE l.id = $1 FOR SHARE", list_id
    )
    if is_open:
        await pause_schedule(conn, of=ScheduleFilter(environment, list_id=list_id), note=note)


async def lift_pauses_of_finished(conn: Connection) -> int:
    """Lift pauses of lists that have finished since, which hold nothing any more and cost every run a look; how many.
    To be called in a transaction.
    """
    rows = await conn.fetch(
        """
        SELECT p.id, p.environment FROM penstock.pauses p
        CROSS JOIN LATERAL (
            SELECT l.state, l.finished_at FROM penstock.lists l WHERE l.id = p.list_id OFFSET 0
        ) l
        WHERE p.lifted_at IS NULL AND l.state = 'finished' AND l.finished_at > p.paused_at
        """
    )
    for environment in sorted({row["environment"] for row in rows}):
        await _take_turn(conn, environment)
        await conn.execute(
            "UPDATE penstock.pauses SET lifted_at = clock_timestamp() WHERE id = ANY($1::uuid[]) AND lifted_at IS NULL",
            [row["id"] for row in rows if row["environment"] == environment],
        )
        await _note_whether_paused(conn, environment)
    return len(rows)


async def _note_whether_paused(conn: Connection, environment: str) -> None:
    await conn.execute(
        """
        UPDATE penstock.environments e
        SET has_pauses = EXISTS (SELECT FROM penstock.pauses p WHERE p.environment = e.name AND p.lifted_at IS NULL)
        WHERE e.name = $1
        """,
        environment,
    )


def _resumption(lifted: Pause, missed: Missed, actor: str) -> Act:
    before: dict[str, JsonValue] = {**lifted.of.describe(), "note": lifted.note}
    after: dict[str, JsonValue] = {"missed": missed.value}
    return Act(lifted.of.environment, actor, AuditAction.SCHEDULE_RESUME, str(lifted.id), before, after)


async def list_pauses(conn: Connection, *, environment: str) -> list[Pause]:
    """The pauses that are in force, the oldest first."""
    rows = await conn.fetch(
        "SELECT * FROM penstock.pauses WHERE environment = $1 AND lifted_at IS NULL ORDER BY paused_at, id", environment
    )
    return [_from_row(row) for row in rows]


async def has_pauses(conn: Connection) -> bool:
    """Whether any pause is in force."""
    found: bool = await conn.fetchval("SELECT bool_or(has_pauses) FROM penstock.environments")
    return found


class Look(NamedTuple):
    """A look at some queued runs: how many were taken back, whether there were as many as it looks at, and from which
    moment on the next look has to begin.
    """

    parked: int
    is_full: bool
    next_since: datetime


async def list_in_force(conn: Connection) -> frozenset[UUID]:
    """The ids of the pauses that are in force, in all environments."""
    rows = await conn.fetch("SELECT id FROM penstock.pauses WHERE lifted_at IS NULL")
    return frozenset(row["id"] for row in rows)


async def park_queued_runs(conn: Connection, *, since: datetime | None, most: int) -> Look:
    """Take back runs that a pause matches, of the first `most` that were queued from `since` on (None: of all).

    What is queued while it looks may not be seen yet, so the next look begins a little before the end of this one.
    """
    row = await conn.fetchrow(_PARK, since, most, SEEN_LATE)
    assert row is not None, "an aggregate has a row"
    return Look(row["parked"], row["looked"] >= most, row["next_since"])


async def list_lifted(conn: Connection) -> list[UUID]:
    """Pauses that were lifted, and whose parked rows have to be released."""
    rows = await conn.fetch("SELECT id FROM penstock.pauses WHERE lifted_at IS NOT NULL ORDER BY lifted_at")
    return [row["id"] for row in rows]


async def release(conn: Connection, *, pause_id: UUID, most: int) -> Released:
    """Let a batch of what a lifted pause had parked start, or drop it; skips a pause that another scheduler has in
    hand. It is deleted when nothing is left, and every statement that may have seen it in force has ended.
    """
    row = await conn.fetchrow("SELECT * FROM penstock.pauses WHERE id = $1 FOR UPDATE SKIP LOCKED", pause_id)
    if row is None:
        return Released(0, [])
    lifted, drops = _from_row(row), row["drops"]
    dropped = await _drop_runs(conn, lifted, most=most) if drops else []
    runs = await _release_runs(conn, lifted, most=most)
    runs += await _release_waits(conn, lifted, most=most)
    await _release_recurrences(conn, lifted, drops=drops)
    if not runs and not dropped:
        await conn.execute(
            "DELETE FROM penstock.pauses WHERE id = $1 AND lifted_at < clock_timestamp() - interval '1 minute'",
            pause_id,
        )
    return Released(runs, dropped)


async def _drop_runs(conn: Connection, lifted: Pause, *, most: int) -> list[RunSummary]:
    # Runs that had begun continue: half a workflow helps nobody.
    rows = await conn.fetch(
        f"""
        SELECT r.id FROM penstock.pauses p
        JOIN penstock.runs r ON r.environment = p.environment
        WHERE p.id = $1 AND r.parked_at IS NOT NULL AND r.attempt = 0 AND {_MATCHES_RUN}
          AND NOT ({_IS_HELD_RUN})
        LIMIT $2
        """,
        lifted.id,
        most,
    )
    by = "the end of a pause (missed: drop)"
    return await cancel_runs(conn, environment=lifted.of.environment, run_ids=[row["id"] for row in rows], by=by)


async def _release_runs(conn: Connection, lifted: Pause, *, most: int) -> int:
    status = await conn.execute(
        f"""
        WITH found AS MATERIALIZED (
            SELECT r.id FROM penstock.pauses p
            JOIN penstock.runs r ON r.environment = p.environment
            WHERE p.id = $1 AND r.parked_at IS NOT NULL AND {_MATCHES_RUN} AND NOT ({_IS_HELD_RUN})
              AND (NOT p.drops OR r.attempt > 0)
            ORDER BY r.scheduled_at
            LIMIT $2
            FOR NO KEY UPDATE OF r SKIP LOCKED
        )
        UPDATE penstock.runs r SET parked_at = NULL FROM found f WHERE r.id = f.id AND r.parked_at IS NOT NULL
        """,
        lifted.id,
        most,
    )
    return int(status.split()[-1])


async def _release_waits(conn: Connection, lifted: Pause, *, most: int) -> int:
    status = await conn.execute(
        """
        WITH found AS MATERIALIZED (
            SELECT w.run_id FROM penstock.pauses p
            JOIN penstock.waits w ON w.environment = p.environment
            CROSS JOIN LATERAL (SELECT r.* FROM penstock.runs r WHERE r.id = w.run_id OFFSET 0) r
            WHERE p.id = $1 AND w.parked_at IS NOT NULL
              AND penstock.matches_pause(p, r.environment, r.workflow, r.chain_id, r.list_id, w.until)
              AND penstock.find_pause(r.environment, r.workflow, r.chain_id, r.list_id, w.until) IS NULL
            LIMIT $2
            FOR NO KEY UPDATE OF w SKIP LOCKED
        )
        UPDATE penstock.waits w SET parked_at = NULL FROM found f WHERE w.run_id = f.run_id
        """,
        lifted.id,
        most,
    )
    return int(status.split()[-1])


async def _release_recurrences(conn: Connection, lifted: Pause, *, drops: bool) -> None:
    await conn.execute(
        """
        UPDATE penstock.recurrences c
        SET parked_at = NULL,
            owed_since = CASE WHEN $2 THEN NULL ELSE c.due_at END,
            dropped_until = CASE WHEN $2 THEN p.lifted_at END
        FROM penstock.pauses p
        WHERE p.id = $1 AND c.parked_at IS NOT NULL
          AND penstock.matches_pause(p, c.environment, c.workflow, NULL, NULL, c.due_at)
          AND penstock.find_pause(c.environment, c.workflow, NULL, NULL, c.due_at) IS NULL
        """,
        lifted.id,
        drops,
    )


async def _park_due(conn: Connection, *, environment: str) -> None:
    """Park what is due and held back at this moment, so that it is dropped with the rest: a turn has yet to find it."""
    await conn.execute(
        f"""
        UPDATE penstock.runs r
        SET state = 'scheduled', dispatched_at = NULL, parked_at = clock_timestamp()
        WHERE r.environment = $1 AND r.parked_at IS NULL AND {_IS_HELD_RUN}
          AND (r.finished_at IS NULL AND r.indexed_state IS NULL AND r.state = 'queued'
               OR r.indexed_state = 'scheduled' AND r.scheduled_at <= clock_timestamp())
        """,
        environment,
    )
    await conn.execute(
        """
        UPDATE penstock.recurrences c SET parked_at = clock_timestamp()
        WHERE c.environment = $1 AND c.parked_at IS NULL AND c.due_at <= clock_timestamp()
          AND penstock.find_pause(c.environment, c.workflow, NULL, NULL, c.due_at) IS NOT NULL
        """,
        environment,
    )


async def _take_turn(conn: Connection, environment: str) -> None:
    """Those who pause and resume one environment take turns."""
    await conn.execute("SELECT FROM penstock.environments WHERE name = $1 FOR NO KEY UPDATE", environment)


async def _find_same(conn: Connection, of: ScheduleFilter) -> Pause | None:
    row = await conn.fetchrow(
        """
        SELECT * FROM penstock.pauses
        WHERE environment = $1 AND workflow IS NOT DISTINCT FROM $2 AND chain_id IS NOT DISTINCT FROM $3
          AND list_id IS NOT DISTINCT FROM $4 AND since IS NOT DISTINCT FROM $5 AND until IS NOT DISTINCT FROM $6
          AND lifted_at IS NULL
        """,
        *_columns(of),
    )
    return None if row is None else _from_row(row)


def _columns(of: ScheduleFilter) -> Sequence[object]:
    return of.environment, of.workflow, of.chain_id, of.list_id, of.since, of.until


def _from_row(row: Record) -> Pause:
    of = ScheduleFilter(
        row["environment"], row["workflow"], row["since"], row["until"], row["list_id"], row["chain_id"]
    )
    return Pause(row["id"], of, row["note"], row["paused_at"])
