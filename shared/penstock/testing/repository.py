"""What a test reads: runs with their steps and their lines of the log, and whether anything is going on at all."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection, Record
from penstock.domain.states import RunState
from penstock.store.logs import LogEvent

_LAST_LINES = (LogEvent.FINISHED.value, LogEvent.CONDITION_NOT_PASSED.value)


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step that was performed, skipped or failed, in which attempt, and with what result or error."""

    step: str
    action: str
    outcome: str
    attempt: int
    result: JsonValue
    error: JsonValue


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log. `event` says what it is about in Bubble's words."""

    level: str
    event: str
    step: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it was when it was looked at. `steps` is by path, in the order in which they were begun; `logs` in order
    of time.
    """

    id: UUID
    workflow: str
    environment: str
    state: RunState
    trigger: str
    depth: int
    chain_id: UUID
    parent_run_id: UUID | None
    attempt: int
    parameters: JsonValue
    result: JsonValue
    error: JsonValue
    scheduled_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    steps: dict[str, StepDone]
    logs: tuple[Line, ...]

    @property
    def output(self) -> list[str]:
        """What its `log` steps said."""
        return [line.message for line in self.logs if line.event == LogEvent.OUTPUT]

    @property
    def is_told(self) -> bool:
        """Whether the log has the line that comes last: it is written a moment after the run has ended."""
        if self.state not in {RunState.SUCCEEDED, RunState.SKIPPED, RunState.FAILED}:
            return True
        return any(
            line.event in _LAST_LINES or (line.event, line.level) == (LogEvent.WORKFLOW_ERROR, "error")
            for line in self.logs
        )


_RUN_COLUMNS = [name for name in Run.__dataclass_fields__ if name not in {"state", "steps", "logs"}]


async def list_runs(
    conn: Connection,
    *,
    environment: str,
    workflow: str | None = None,
    state: str | None = None,
    run_id: UUID | None = None,
) -> list[Run]:
    """All runs of the environment that fit what is given, the oldest first."""
    rows = await conn.fetch(
        """
        SELECT r.id, r.workflow, r.environment, r.state, r.trigger, r.depth, r.chain_id, r.parent_run_id, r.attempt,
               r.parameters, r.result, r.error, r.scheduled_at, r.started_at, r.finished_at
        FROM penstock.runs r
        WHERE r.environment = $1 AND ($2::text IS NULL OR r.workflow = $2) AND ($3::text IS NULL OR r.state = $3)
          AND ($4::uuid IS NULL OR r.id = $4)
        ORDER BY r.created_at, r.id
        """,
        environment,
        workflow,
        state,
        run_id,
    )
    ids = [row["id"] for row in rows]
    steps, lines = await _list_steps(conn, ids), await _list_lines(conn, ids)
    return [_run_from_row(row, steps[row["id"]], lines[row["id"]]) for row in rows]


def _run_from_row(row: Record, steps: Sequence[StepDone], lines: Sequence[Line]) -> Run:
    values = {name: row[name] for name in _RUN_COLUMNS}
    return Run(**values, state=RunState(row["state"]), steps={done.step: done for done in steps}, logs=tuple(lines))


async def _list_steps(conn: Connection, run_ids: Sequence[UUID]) -> defaultdict[UUID, list[StepDone]]:
    rows = await conn.fetch(
        """
        SELECT s.run_id, s.step, s.action, s.outcome, s.attempt, s.result, s.error
        FROM penstock.steps s
        WHERE s.run_id = ANY($1::uuid[])
        ORDER BY s.started_at, s.finished_at, s.step
        """,
        run_ids,
    )
    found: defaultdict[UUID, list[StepDone]] = defaultdict(list)
    for row in rows:
        found[row["run_id"]].append(StepDone(**{name: row[name] for name in StepDone.__dataclass_fields__}))
    return found


async def _list_lines(conn: Connection, run_ids: Sequence[UUID]) -> defaultdict[UUID, list[Line]]:
    rows = await conn.fetch(
        "SELECT l.run_id, l.level, l.event, l.step, l.message FROM penstock.logs l WHERE l.run_id = ANY($1::uuid[]) "
        "ORDER BY l.at, l.id",
        run_ids,
    )
    found: defaultdict[UUID, list[Line]] = defaultdict(list)
    for row in rows:
        found[row["run_id"]].append(Line(row["level"], row["event"], row["step"], row["message"]))
    return found


async def is_busy(conn: Connection) -> bool:
    """Whether anything is under way or due by the database's clock: a run, items of a list, a tick, or the end of a
    wait.
    """
    busy: bool = await conn.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM penstock.runs
            WHERE state IN ('queued', 'running') OR (state = 'scheduled' AND scheduled_at <= clock_timestamp())
        ) OR EXISTS (
            SELECT FROM penstock.lists l
            JOIN penstock.list_chunks c ON c.list_id = l.id
            WHERE l.state = 'expanding' AND c.expanded_at IS NULL
              AND (NOT l.is_sequential
                   OR (l.start_at + make_interval(secs => (c.first_index + c.next_offset) * l.interval_seconds)
                        <= clock_timestamp()
                       AND NOT EXISTS (SELECT FROM penstock.runs r WHERE r.list_id = l.id AND r.finished_at IS NULL)))
        ) OR EXISTS (
            SELECT FROM penstock.recurrences c
            LEFT JOIN penstock.runs r ON r.id = c.last_run_id AND r.finished_at IS NULL
            WHERE c.due_at <= clock_timestamp() AND (c.held_since IS NULL OR r.id IS NULL)
        ) OR EXISTS (SELECT FROM penstock.waits w WHERE w.until <= clock_timestamp())
          OR EXISTS (SELECT FROM penstock.changes)
        """
    )
    return busy


async def get_time(conn: Connection) -> datetime:
    """The database's time."""
    now: datetime = await conn.fetchval("SELECT clock_timestamp()")
    return now


async def find_next_due(conn: Connection) -> datetime | None:
    """When the next thing is due that is not yet: a run, an item of a sequential list, a tick, the end of a wait; or
    None.
    """
    due_at: datetime | None = await conn.fetchval(
        """
        SELECT min(u.due_at) FROM (
            SELECT scheduled_at AS due_at FROM penstock.runs WHERE state = 'scheduled'
            UNION ALL
            SELECT l.start_at + make_interval(secs => (c.first_index + c.next_offset) * l.interval_seconds)
            FROM penstock.lists l
            JOIN penstock.list_chunks c ON c.list_id = l.id
            WHERE l.state = 'expanding' AND l.is_sequential AND c.expanded_at IS NULL
            UNION ALL
            SELECT c.due_at FROM penstock.recurrences c WHERE c.held_since IS NULL
            UNION ALL
            SELECT w.until FROM penstock.waits w
        ) u
        WHERE u.due_at > clock_timestamp()
        """
    )
    return due_at


async def list_upcoming(conn: Connection, *, environment: str) -> list[tuple[str, RunState, datetime]]:
    """Workflow, state and due time of the runs that have not ended, for a message to a person."""
    rows = await conn.fetch(
        """
        SELECT workflow, state, scheduled_at FROM penstock.runs
        WHERE environment = $1 AND finished_at IS NULL
        ORDER BY scheduled_at LIMIT 10
        """,
        environment,
    )
    return [(row["workflow"], RunState(row["state"]), row["scheduled_at"]) for row in rows]
