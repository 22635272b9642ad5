"""The log that app authors and operators read: lines in Bubble's words, searchable by run, chain, workflow and text."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from pydantic import JsonValue

from penstock import clock
from penstock.db import Connection
from penstock.storable import storable_text


class LogEvent(StrEnum):
    """What a line says, in the words of Bubble's server logs, so that people find what they look for."""

    RECEIVED = "received request for API workflow"
    SCHEDULED = "scheduled task to run"
    STARTED = "running event"
    CONDITION_PASSED = "event condition passed"
    CONDITION_NOT_PASSED = "event condition failed, terminating"
    ACTION_CONDITION_FAILED = "action condition failed"
    ACTION_STARTED = "running action"
    HTTP_REQUEST = "http_request"
    HTTP_RESPONSE = "http_request response"
    ACTION_COMPLETED = "action completed"
    FINISHED = "event completed"
    SCHEDULED_DONE = "scheduled task completed"
    WORKFLOW_ERROR = "error occurred during workflow execution"
    OUTPUT = "plugin action console output"
    CHAIN_WARNED = "chain near its depth limit"
    CHAIN_STOPPED = "chain stopped"
    CHAIN_RESUMED = "chain resumed"
    WORKLOAD_WARNED = "workload threshold reached"
    WAITING = "event waiting"
    CANCELLED = "event cancelled"
    RETRIED = "event retried"
    MOVED = "event moved"
    TICKS_PASSED_OVER = "recurring event skipped"
    MAIL_FAILED = "Sending email failed"
    NOTIFICATION_FAILED = "notification failed"
    LINES_LOST = "log lines lost"


LEVELS: Final = ("debug", "info", "warning", "error")
"""From the one that matters least."""
MAX_MESSAGE: Final = 100_000
"""Characters of a line; what is longer is cut."""


class LogLine(NamedTuple):
    """One line; its fields are the columns of the table.

    `level` is one of LEVELS; `details` is JSON without payloads or secrets; `user_id` is that of the user of the app
    for whom the run works.
    """

    at: datetime
    environment: str
    level: str
    event: LogEvent
    message: str = ""
    run_id: UUID | None = None
    chain_id: UUID | None = None
    workflow: str | None = None
    step: str | None = None
    depth: int | None = None
    details: JsonValue = None
    user_id: str | None = None


class Subject(NamedTuple):
    """What a line is about: an environment, and as much of the rest as there is."""

    environment: str
    workflow: str | None = None
    run_id: UUID | None = None
    chain_id: UUID | None = None
    step: str | None = None
    depth: int | None = None
    user_id: str | None = None


def error_line(
    of: Subject, message: str, details: JsonValue, *, at: datetime | None = None, level: str = "error"
) -> LogLine:
    """A *Workflow error*: something of a workflow did not work, at `at` (None: now). A `warning` is tried again.

    `details` has a `kind`, by which people and tests distinguish errors.
    """
    return LogLine(
        at=at or clock.now(),
        environment=of.environment,
        level=level,
        event=LogEvent.WORKFLOW_ERROR,
        message=message,
        run_id=of.run_id,
        chain_id=of.chain_id,
        workflow=of.workflow,
        step=of.step,
        depth=of.depth,
        details=details,
        user_id=of.user_id,
    )


async def write_logs(conn: Connection, lines: Sequence[LogLine]) -> None:
    """Append `lines`, by COPY."""
    await conn.copy_records_to_table(
        "logs",
        schema_name="penstock",
        columns=LogLine._fields,
        records=[line._replace(message=_fit(line.message)) if line.message else line for line in lines],
    )


def _fit(message: str) -> str:
    cut = message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]} … ({len(message)} characters)"
    return storable_text(cut)
