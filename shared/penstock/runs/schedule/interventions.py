"""Cancel one of what is coming, give up the rest of lists, and move a run to another time. By filter, what is coming is
cancelled by an operation, see `penstock.runs.operations`.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from pydantic import JsonValue

from penstock import clock
from penstock.db import Connection
from penstock.domain.runs import RunSummary
from penstock.domain.schedule import ScheduleFilter
from penstock.domain.states import RunState
from penstock.domain.ticks import next_tick
from penstock.runs.cancellations import cancel_runs
from penstock.runs.recurrences.history import Tick, record_ticks
from penstock.runs.recurrences.rows import COLUMNS, recurrence_from_row
from penstock.store.audit import Act, AuditAction, note_acts
from penstock.store.logs import LogEvent, LogLine, write_logs


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What became of one entry of the schedule: runs that were cancelled, ticks passed over, items given up."""

    runs: list[RunSummary] = field(default_factory=list)
    ticks: int = 0
    items: int = 0


async def cancel_entry(conn: Connection, *, environment: str, id: UUID, by: str, actor: str) -> Cancelled | None:
    """Cancel a run that waits for its time, pass over the next tick of a recurrence, or give up the items of a list
    that are not runs yet; None when nothing with that id is coming. To be called in a transaction. `actor` is who does
    it, for the audit.
    """
    done = await _cancel_entry(conn, environment=environment, id=id, by=by)
    if done is not None:
        after: JsonValue = {"cancelled": len(done.runs) + done.ticks, "items": done.items}
        await note_acts(conn, [Act(environment, actor, AuditAction.SCHEDULE_CANCEL, str(id), None, after)])
    return done


async def _cancel_entry(conn: Connection, *, environment: str, id: UUID, by: str) -> Cancelled | None:
    is_coming: bool = await conn.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM penstock.runs r
            LEFT JOIN penstock.waits w ON w.run_id = r.id
            WHERE r.id = $1 AND r.environment = $2
              AND (r.state = 'scheduled' OR (r.state = 'waiting' AND w.until IS NOT NULL))
        )
        """,
        id,
        environment,
    )
    if is_coming:
        return Cancelled(runs=await cancel_runs(conn, environment=environment, run_ids=[id], by=by))
    if await skip_next_tick(conn, environment=environment, id=id, by=by):
        return Cancelled(ticks=1)
    items = await end_lists(conn, of=ScheduleFilter(environment, list_id=id))
    return Cancelled(items=items) if items else None


async def _note_moved(
    conn: Connection, *, environment: str, run_id: UUID, to: datetime | timedelta, actor: str
) -> None:
    after: dict[str, JsonValue] = (
        {"at": to.isoformat()} if isinstance(to, datetime) else {"after_seconds": to.total_seconds()}
    )
    await note_acts(conn, [Act(environment, actor, AuditAction.SCHEDULE_MOVE, str(run_id), None, after)])


async def end_lists(conn: Connection, *, of: ScheduleFilter) -> int:
    """Give up the items of lists that have not become runs yet; how many. Waits for chunks that are being expanded, so
    that their runs can be cancelled afterwards.
    """
    dropped: int = await _end_searches(conn, of=of)
    # The chunk that was being found meanwhile is seen by this statement, and not by the one above.
    dropped += await conn.fetchval(
        """
        WITH ended AS (
            UPDATE penstock.list_chunks c SET expanded_at = clock_timestamp()
            FROM penstock.lists l
            WHERE l.id = c.list_id AND c.expanded_at IS NULL AND l.state = 'expanding' AND l.environment = $1
              AND ($2::text IS NULL OR l.workflow = $2)
              AND ($3::timestamptz IS NULL
                   OR l.start_at + make_interval(secs => (c.first_index + c.next_offset) * l.interval_seconds) >= $3)
              AND ($4::timestamptz IS NULL
                   OR l.start_at + make_interval(secs => (c.first_index + c.next_offset) * l.interval_seconds) < $4)
              AND ($5::uuid IS NULL OR l.id = $5)
              AND ($6::uuid IS NULL OR l.claimed_chain_id = $6
                   OR (SELECT r.chain_id FROM penstock.runs r WHERE r.id = l.parent_run_id) = $6)
            RETURNING l.id, jsonb_array_length(c.parameters) - c.next_offset AS items
        ), counted AS (
            UPDATE penstock.lists l SET given_up = l.given_up + n.items
            FROM (SELECT e.id, sum(e.items)::int AS items FROM ended e GROUP BY e.id) n WHERE l.id = n.id
        )
        SELECT coalesce(sum(items), 0)::int FROM ended
        """,
        of.environment,
        of.workflow,
        of.since,
        of.until,
        of.list_id,
        of.chain_id,
    )
    return dropped


async def _end_searches(conn: Connection, *, of: ScheduleFilter) -> int:
    """Find no more things for lists; how many would have been found. Waits for those who are finding some."""
    dropped: int = await conn.fetchval(
        """
        WITH ended AS (
            DELETE FROM penstock.list_searches s USING penstock.lists l
            WHERE l.id = s.list_id AND l.state = 'expanding' AND l.environment = $1
              AND ($2::text IS NULL OR l.workflow = $2)
              AND ($3::timestamptz IS NULL
                   OR l.start_at + make_interval(secs => s.next_index * l.interval_seconds) >= $3)
              AND ($4::timestamptz IS NULL
                   OR l.start_at + make_interval(secs => s.next_index * l.interval_seconds) < $4)
              AND ($5::uuid IS NULL OR l.id = $5)
              AND ($6::uuid IS NULL OR l.claimed_chain_id = $6
                   OR (SELECT r.chain_id FROM penstock.runs r WHERE r.id = l.parent_run_id) = $6)
            RETURNING l.id, greatest(l.total - s.next_index, 0) AS items
        ), counted AS (
            UPDATE penstock.lists l SET given_up = l.given_up + e.items FROM ended e WHERE l.id = e.id
        )
        SELECT coalesce(sum(items), 0)::int FROM ended
        """,
        of.environment,
        of.workflow,
        of.since,
        of.until,
        of.list_id,
        of.chain_id,
    )
    return dropped


async def skip_next_tick(conn: Connection, *, environment: str, id: UUID, by: str) -> bool:
    """Pass over the next tick of a recurrence; False when there is none. To be called in a transaction."""
    row = await conn.fetchrow(
        f"""
        SELECT {COLUMNS} FROM penstock.recurrences c
        WHERE c.id = $1 AND c.environment = $2 AND c.next_tick_at IS NOT NULL
        FOR UPDATE
        """,
        id,
        environment,
    )
    if row is None:
        return False
    recurrence = recurrence_from_row(row)
    assert recurrence.next_tick_at is not None
    following = next_tick(recurrence.rule, recurrence.next_tick_at)
    due_at = None if following is None or recurrence.paused_at is not None else recurrence.due_time(following)
    await conn.execute(
        """
        UPDATE penstock.recurrences
        SET next_tick_at = $2, due_at = $3, held_since = NULL, skipped = skipped + 1
        WHERE id = $1
        """,
        id,
        following,
        due_at,
    )
    await record_ticks(conn, [Tick(id, recurrence.next_tick_at, "skipped", reason=f"cancelled by {by}")])
    return True


async def move_run(
    conn: Connection, *, environment: str, run_id: UUID, to: datetime | timedelta, by: str, actor: str
) -> tuple[RunState, bool] | None:
    """Let a run that waits for its time be due at another one, or so long from now; a time of the past is now. Returns
    the state of the run, and whether it was moved: one that waits for no time is not. None when there is no such run.
    To be called in a transaction. `actor` is who does it, for the audit.
    """
    row = await conn.fetchrow(
        """
        SELECT r.state, r.chain_id, r.workflow, r.depth,
               CASE WHEN $4::interval IS NULL THEN greatest($3::timestamptz, clock_timestamp())
                    ELSE clock_timestamp() + $4 END AS due_at
        FROM penstock.runs r
        WHERE r.id = $1 AND r.environment = $2
        FOR NO KEY UPDATE
        """,
        run_id,
        environment,
        None if isinstance(to, timedelta) else to,
        to if isinstance(to, timedelta) else None,
    )
    if row is None:
        return None
    state, status = RunState(row["state"]), "UPDATE 0"
    if state is RunState.SCHEDULED:
        status = await conn.execute("UPDATE penstock.runs SET scheduled_at = $2 WHERE id = $1", run_id, row["due_at"])
    elif state is RunState.WAITING:
        status = await conn.execute(
            "UPDATE penstock.waits SET until = $2 WHERE run_id = $1 AND until IS NOT NULL",
            run_id,
            row["due_at"],
        )
    if status == "UPDATE 0":
        return state, False
    line = LogLine(
        at=clock.now(), environment=environment, level="info", event=LogEvent.MOVED,
        message=f"moved to {row['due_at'].isoformat()} by {by}",
        run_id=run_id, chain_id=row["chain_id"], workflow=row["workflow"], depth=row["depth"],
    )  # fmt: skip
    await write_logs(conn, [line])
    await _note_moved(conn, environment=environment, run_id=run_id, to=to, actor=actor)
    return state, True
