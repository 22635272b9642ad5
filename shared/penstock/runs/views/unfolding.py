"""The log of a run in Bubble's kinds of line, unfolded when it is read.

A run writes one line when it ends, so that its log costs no more than that. What else Bubble's log has of a run
(running event, condition passed, action completed) is known from the run and its steps, which are written anyway.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from penstock.db import Connection
from penstock.runs.views.models import LogEntry
from penstock.runs.views.tries import PAUSE
from penstock.store.logs import LogEvent

ENDS: Final = (LogEvent.FINISHED, LogEvent.CONDITION_NOT_PASSED, LogEvent.WORKFLOW_ERROR, LogEvent.CANCELLED)
"""Lines that may be the last of a run."""
_OUTCOMES: Final = {
    "succeeded": LogEvent.ACTION_COMPLETED,
    "failed": LogEvent.ACTION_COMPLETED,
    "skipped": LogEvent.ACTION_CONDITION_FAILED,
}


@dataclass(frozen=True, slots=True)
class _Step:
    path: str
    action: str
    event: LogEvent
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class Course:
    """How a run went: when it began, its steps that are over, and the line that it ended with."""

    started_at: datetime
    end: int
    steps: Sequence[_Step]


async def list_courses(conn: Connection, *, lines: Sequence[LogEntry]) -> dict[UUID, Course]:
    """The course of each run that one of these lines may be the end of."""
    run_ids = {line.run_id for line in lines if line.run_id is not None and line.event in ENDS}
    if not run_ids:
        return {}
    ends = await conn.fetch(
        """
        SELECT r.id, r.started_at, l.id AS line
        FROM unnest($1::uuid[]) AS q (id)
        JOIN penstock.runs r ON r.id = q.id AND r.finished_at IS NOT NULL AND r.started_at IS NOT NULL
        CROSS JOIN LATERAL (
            SELECT n.id FROM penstock.logs n
            WHERE n.run_id = r.id AND n.event = ANY ($2::text[])
              -- Not an error after which it is tried again, nor the condition of a workflow that a step triggers.
              AND (n.level = 'error' OR (n.step IS NULL AND (n.level = 'info' OR n.event = 'event cancelled')))
            ORDER BY n.at DESC, n.id DESC
            LIMIT 1
        ) l
        """,
        list(run_ids),
        list(ENDS),
    )
    rows = await conn.fetch(
        """
        SELECT s.run_id, s.step, s.action, s.outcome, s.result IS NOT NULL AS is_over, s.finished_at
        FROM penstock.steps s
        WHERE s.run_id = ANY ($1::uuid[]) AND s.action <> $2
        ORDER BY s.finished_at, s.started_at, s.step
        """,
        [row["id"] for row in ends],
        PAUSE,
    )
    steps: dict[UUID, list[_Step]] = defaultdict(list)
    for row in rows:
        # A step that failed and has no result has ended its run: the last line says so.
        if (event := _OUTCOMES.get(row["outcome"])) is not None and (row["outcome"] != "failed" or row["is_over"]):
            steps[row["run_id"]].append(_Step(row["step"], row["action"], event, row["finished_at"]))
    return {row["id"]: Course(row["started_at"], row["line"], steps[row["id"]]) for row in ends}


def unfold(line: LogEntry, courses: Mapping[UUID, Course]) -> list[LogEntry]:
    """The lines that this one stands for, the oldest first; it is the last of them. They have its id."""
    course = None if line.run_id is None else courses.get(line.run_id)
    if course is None or line.id != course.end:
        return [line]
    unfolded = [_derive(line, LogEvent.STARTED, course.started_at)]
    if line.event != LogEvent.CONDITION_NOT_PASSED:
        unfolded.append(_derive(line, LogEvent.CONDITION_PASSED, course.started_at))
    unfolded += [_derive(line, step.event, step.finished_at, step) for step in course.steps]
    return [*unfolded, line]


def _derive(line: LogEntry, event: LogEvent, at: datetime, step: _Step | None = None) -> LogEntry:
    known = {
        "event": event.value, "at": min(at, line.at), "level": "info", "details": None,
        "step": step.path if step else None, "message": step.action if step else "",
    }  # fmt: skip
    return line.model_copy(update=known)
