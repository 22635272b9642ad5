"""The log of a run in Bubble's kinds of line, unfolded when it is read.

A run writes one line when it ends, so that its log costs no more than that. What else Bubble's log has of a run
(received request, running event, condition passed, running action, action completed) is known from the run and its
steps, which are written anyway.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from penstock.db import Connection
from penstock.definitions.models import StepAction
from penstock.runs.views.models import LogEntry
from penstock.runs.views.tries import PAUSE
from penstock.store.logs import LogEvent

ENDS: Final = (LogEvent.FINISHED, LogEvent.CONDITION_NOT_PASSED, LogEvent.WORKFLOW_ERROR, LogEvent.CANCELLED)
"""Lines that may be the last of a run."""
DERIVED: Final = frozenset(
    {
        LogEvent.RECEIVED, LogEvent.SCHEDULED, LogEvent.SCHEDULED_DONE, LogEvent.STARTED, LogEvent.CONDITION_PASSED,
        LogEvent.ACTION_STARTED, LogEvent.HTTP_REQUEST, LogEvent.HTTP_RESPONSE, LogEvent.ACTION_COMPLETED,
        LogEvent.ACTION_CONDITION_FAILED, LogEvent.MAIL_FAILED,
    }
)  # fmt: skip
"""Kinds of lines that are unfolded."""
_OF_TRIGGERS: Final = {"api": LogEvent.RECEIVED, "schedule": LogEvent.SCHEDULED}
_REQUESTS: Final = (StepAction.HTTP, StepAction.CALL)
_RANKS: Final = {
    LogEvent.RECEIVED.value: 0,
    LogEvent.SCHEDULED.value: 0,
    LogEvent.STARTED.value: 1,
    LogEvent.CONDITION_PASSED.value: 2,
    LogEvent.SCHEDULED_DONE.value: 8,
    **{event.value: 7 for event in ENDS},
}


@dataclass(frozen=True, slots=True)
class _Step:
    """A step as its row has it. `is_last`: it failed, and the run ended with that."""

    path: str
    action: str
    outcome: str
    started_at: datetime
    finished_at: datetime
    is_last: bool


@dataclass(frozen=True, slots=True)
class Course:
    """How a run went: what began it and when, its steps that are over, and the line that it ended with."""

    trigger: str
    created_at: datetime
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
        SELECT r.id, r.trigger, r.created_at, r.started_at, l.id AS line
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
        SELECT s.run_id, s.step, s.action, s.outcome, s.result IS NOT NULL AS is_over, s.started_at, s.finished_at
        FROM penstock.steps s
        WHERE s.run_id = ANY ($1::uuid[]) AND s.action <> $2
        ORDER BY s.finished_at, s.started_at, s.step
        """,
        [row["id"] for row in ends],
        PAUSE,
    )
    steps: dict[UUID, list[_Step]] = defaultdict(list)
    for row in rows:
        if (outcome := row["outcome"]) != "waiting":
            # A step that failed and has no result has ended its run: the last line says so.
            is_last = outcome == "failed" and not row["is_over"]
            step = _Step(row["step"], row["action"], outcome, row["started_at"], row["finished_at"], is_last)
            steps[row["run_id"]].append(step)
    return {
        row["id"]: Course(row["trigger"], row["created_at"], row["started_at"], row["line"], steps[row["id"]])
        for row in ends
    }


def unfold(line: LogEntry, courses: Mapping[UUID, Course]) -> list[LogEntry]:
    """The lines that this one stands for, with itself, the oldest first. They have its id."""
    course = None if line.run_id is None else courses.get(line.run_id)
    if course is None or line.id != course.end:
        return [line]
    unfolded = [_derive(line, LogEvent.STARTED, course.started_at)]
    began = _OF_TRIGGERS.get(course.trigger)
    if began is not None:
        unfolded.insert(0, _derive(line, began, course.created_at))
    if line.event != LogEvent.CONDITION_NOT_PASSED:
        unfolded.append(_derive(line, LogEvent.CONDITION_PASSED, course.started_at))
    for step in course.steps:
        unfolded += [_derive(line, event, at, step) for event, at in _list_events(step)]
    unfolded.append(line)
    if began is LogEvent.SCHEDULED and line.event == LogEvent.FINISHED:
        unfolded.append(_derive(line, LogEvent.SCHEDULED_DONE, line.at))
    return sorted(unfolded, key=rank)


def rank(line: LogEntry) -> tuple[datetime, int]:
    """Sorts the lines of a run: by time; it begins before all else of its first moment, and ends after all else of its
    last.
    """
    return line.at, _RANKS.get(line.event, 5)


def _list_events(step: _Step) -> Iterator[tuple[LogEvent, datetime]]:
    if step.outcome == "skipped":
        yield LogEvent.ACTION_CONDITION_FAILED, step.finished_at
        return
    yield LogEvent.ACTION_STARTED, step.started_at
    if step.action in _REQUESTS:
        yield LogEvent.HTTP_REQUEST, step.started_at
        yield LogEvent.HTTP_RESPONSE, step.finished_at
    if step.action == StepAction.EMAIL and step.outcome == "failed":
        yield LogEvent.MAIL_FAILED, step.finished_at
    if not step.is_last:
        yield LogEvent.ACTION_COMPLETED, step.finished_at


def _derive(line: LogEntry, event: LogEvent, at: datetime, step: _Step | None = None) -> LogEntry:
    known = {
        "event": event.value, "at": min(at, line.at), "details": None, "step": step.path if step else None,
        "level": "error" if event is LogEvent.MAIL_FAILED else "info", "message": step.action if step else "",
    }  # fmt: skip
    return line.model_copy(update=known)
