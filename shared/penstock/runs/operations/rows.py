"""Operations as they are stored: begun with their note for the audit, found, given up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal, NamedTuple
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection, Record
from penstock.definitions.mending import Mending
from penstock.domain.dead_letters import LetterChoice, LetterFilter
from penstock.domain.deliveries import DeliveryFilter
from penstock.domain.ids import new_run_id
from penstock.domain.schedule import ScheduleFilter
from penstock.runs.keyed import find_keyed_runs
from penstock.runs.operations.items import count_items
from penstock.runs.operations.matching import count_failed, count_live, count_upcoming
from penstock.runs.operations.replaying import Reached, count_replayable
from penstock.runs.views.dead_letters import count_open_letters
from penstock.runs.views.finding import RunFilter
from penstock.store.audit import Act, AuditAction, note_acts

MAX_FAILURES: Final = 5
"""Turns in a row that may fail."""
KEPT_FOR: Final = timedelta(days=30)
"""How long an operation that is over can be looked at."""


class OperationKind(StrEnum):
    """What is done to all runs that meet a filter."""

    CANCEL_RUNS = "runs.cancel"
    """Those that have not ended are cancelled."""
    RETRY_RUNS = "runs.retry"
    """Those that have failed are taken up again."""
    CANCEL_SCHEDULE = "schedule.cancel"
    """Those that wait for their time are cancelled, and the rest of lists is given up."""
    REPLAY_DELIVERIES = "deliveries.replay"
    """Deliveries start runs again."""
    RETRY_LETTERS = "dead-letters.retry"
    """Dead letters that are open are retried: runs are taken up again, messages are published again."""
    DISCARD_LETTERS = "dead-letters.discard"
    """Dead letters that are open are discarded."""
    RESOLVE_LETTERS = "dead-letters.resolve"
    """Dead letters that are open are resolved."""


@dataclass(frozen=True, slots=True)
class RetryChoice:
    """Which failed runs are retried, and what was mended."""

    of: RunFilter
    mending: Mending

    @property
    def environment(self) -> str | None:
        """Where they are."""
        return self.of.environment


@dataclass(frozen=True, slots=True)
class KeyChoice:
    """What `schedule` steps have scheduled of a workflow under one key, as far as it has not ended."""

    environment: str
    workflow: str
    key: str

    def describe(self) -> dict[str, JsonValue]:
        """By the names that people write."""
        return {"workflow": self.workflow, "key": self.key}


Filter = RunFilter | ScheduleFilter | DeliveryFilter | LetterChoice | RetryChoice | KeyChoice
_ACTIONS: Final = {
    OperationKind.CANCEL_RUNS: AuditAction.RUN_CANCEL,
    OperationKind.RETRY_RUNS: AuditAction.RUN_RETRY,
    OperationKind.CANCEL_SCHEDULE: AuditAction.SCHEDULE_CANCEL,
    OperationKind.REPLAY_DELIVERIES: AuditAction.DELIVERY_REPLAY,
    OperationKind.RETRY_LETTERS: AuditAction.DEAD_LETTER_RETRY,
    OperationKind.DISCARD_LETTERS: AuditAction.DEAD_LETTER_DISCARD,
    OperationKind.RESOLVE_LETTERS: AuditAction.DEAD_LETTER_RESOLVE,
}


class Asked(NamedTuple):
    """Who asks for an operation: `actor` for the audit, and by what way (`by`) for the log of each run."""

    actor: str
    by: str


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation as it stands. `of` is a RunFilter or a KeyChoice, or of what is coming a ScheduleFilter, or a
    DeliveryFilter, or what is done to which dead letters.

    `reached` is the last delivery, or dead letter, that was dealt with; `position` the item of a list that is looked at
    next.
    """

    id: UUID
    environment: str
    kind: OperationKind
    state: Literal["running", "finished", "failed"]
    of: Filter
    filter: dict[str, JsonValue]
    total: int
    done: int
    items: int
    error: str | None
    actor: str
    asked_by: str
    created_at: datetime
    finished_at: datetime | None
    reached: Reached | None = None
    position: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return self.state != "running"


async def begin_operation(
    conn: Connection, *, kind: OperationKind, of: Filter, asked: Asked, id: UUID | None = None
) -> Operation:
    """Store an operation on what meets `of`, with its note for the audit. To be called in a transaction.

    With an `id` that was used before, nothing is done: returns the operation that has it.
    """
    environment = of.environment
    assert environment is not None, "an operation belongs to one environment"
    given, total, id = describe_filter(of), await _count(conn, kind, of), id or new_run_id()
    row = await conn.fetchrow(
        """
        INSERT INTO penstock.operations (id, environment, kind, filter, total, actor, asked_by)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (id) DO NOTHING
        RETURNING *
        """,
        id,
        environment,
        kind.value,
        given,
        total,
        *asked,
    )
    if row is None:
        known = await find_operation(conn, environment=environment, id=id)
        assert known is not None, "operations are kept for a month, and this one has been asked for again"
        return known
    after: JsonValue = {"operation": str(id), "total": total}
    await note_acts(conn, [Act(environment, asked.actor, _ACTIONS[kind], "", given or None, after)])
    return operation_from_row(row)


async def _count(conn: Connection, kind: OperationKind, of: Filter) -> int:
    if isinstance(of, ScheduleFilter):
        return await count_upcoming(conn, of)
    if isinstance(of, DeliveryFilter):
        return await count_replayable(conn, of)
    if isinstance(of, LetterChoice):
        return await count_open_letters(conn, of.of)
    if isinstance(of, RetryChoice):
        return await count_failed(conn, of.of)
    if isinstance(of, KeyChoice):
        found = await find_keyed_runs(conn, environment=of.environment, workflow=of.workflow, key=of.key)
        return len(found.live)
    if of.list_id is not None:
        return await count_items(conn, list_id=of.list_id, is_retry=kind is OperationKind.RETRY_RUNS)
    return await (count_failed if kind is OperationKind.RETRY_RUNS else count_live)(conn, of)


async def find_operation(conn: Connection, *, environment: str, id: UUID) -> Operation | None:
    """An operation; None when the environment has none of that id."""
    row = await conn.fetchrow("SELECT * FROM penstock.operations WHERE id = $1 AND environment = $2", id, environment)
    return None if row is None else operation_from_row(row)


async def list_running(conn: Connection) -> list[UUID]:
    """The operations that are not over, the oldest first."""
    rows = await conn.fetch("SELECT id FROM penstock.operations WHERE state = 'running' ORDER BY created_at, id")
    return [row["id"] for row in rows]


class Progress(NamedTuple):
    """What one turn has done, and whether it was the last."""

    done: int
    items: int = 0
    reached: Reached | None = None
    is_over: bool = False
    position: int = 0


async def note_progress(conn: Connection, *, id: UUID, progress: Progress) -> Operation:
    """Add what a turn has done to its operation, whose row is locked."""
    updated = await conn.fetchrow(
        """
        UPDATE penstock.operations o
        SET done = o.done + $2, items = o.items + $3, failures = 0, error = NULL,
            state = CASE WHEN $4 THEN 'finished' ELSE o.state END,
            finished_at = CASE WHEN $4 THEN clock_timestamp() END,
            reached_at = $5, reached_id = $6, position = $7
        WHERE o.id = $1
        RETURNING *
        """,
        id,
        progress.done,
        progress.items,
        progress.is_over,
        progress.reached[0] if progress.reached else None,
        progress.reached[1] if progress.reached else None,
        progress.position,
    )
    assert updated is not None, "the row is locked"
    return operation_from_row(updated)


async def note_failure(conn: Connection, *, id: UUID, error: str) -> None:
    """Note that a turn has failed; the operation has failed when it was one too many in a row."""
    await conn.execute(
        """
        UPDATE penstock.operations o
        SET failures = o.failures + 1, error = $2,
            state = CASE WHEN o.failures + 1 >= $3 THEN 'failed' ELSE o.state END,
            finished_at = CASE WHEN o.failures + 1 >= $3 THEN clock_timestamp() END
        WHERE o.id = $1 AND o.state = 'running'
        """,
        id,
        error,
        MAX_FAILURES,
    )


async def delete_old_operations(conn: Connection, *, most: int = 1000) -> int:
    """Forget operations that were over long ago, at most `most`; how many."""
    status = await conn.execute(
        """
        DELETE FROM penstock.operations
        WHERE id = ANY(ARRAY(
            SELECT id FROM penstock.operations
            WHERE state <> 'running' AND finished_at < statement_timestamp() - $1::interval
            ORDER BY finished_at
            LIMIT $2
        ))
        """,
        KEPT_FOR,
        most,
    )
    return int(status.split()[-1])


def describe_filter(of: Filter) -> dict[str, JsonValue]:
    """What narrows it down, by the names that people write."""
    if isinstance(of, RetryChoice):
        return {**describe_filter(of.of), **of.mending.describe()}
    if isinstance(of, ScheduleFilter | DeliveryFilter | LetterChoice | KeyChoice):
        return {**of.describe()}
    parts: dict[str, JsonValue] = {
        "workflow": of.workflow,
        "state": None if of.states is None else [str(state) for state in of.states],
        "chain": None if of.chain_id is None else str(of.chain_id),
        "parent": None if of.parent_run_id is None else str(of.parent_run_id),
        "since": None if of.since is None else of.since.isoformat(),
        "until": None if of.until is None else of.until.isoformat(),
        "contains": of.contains,
        "list": None if of.list_id is None else str(of.list_id),
    }
    return {name: part for name, part in parts.items() if part is not None}


def operation_from_row(row: Record) -> Operation:
    """An operation from all columns of its row."""
    kind = OperationKind(row["kind"])
    return Operation(
        id=row["id"],
        environment=row["environment"],
        kind=kind,
        state=row["state"],
        of=_FILTERS[kind](row),
        filter=row["filter"],
        total=row["total"],
        done=row["done"],
        items=row["items"],
        error=row["error"],
        actor=row["actor"],
        asked_by=row["asked_by"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        reached=None if row["reached_at"] is None else (row["reached_at"], row["reached_id"]),
        position=row["position"],
    )


def _read_run_filter(row: Record) -> RunFilter:
    given = row["filter"]
    return RunFilter(
        environment=row["environment"],
        workflow=given.get("workflow"),
        states=given.get("state"),
        chain_id=_id(given.get("chain")),
        parent_run_id=_id(given.get("parent")),
        since=_moment(given.get("since")),
        until=_moment(given.get("until")),
        contains=given.get("contains"),
        list_id=_id(given.get("list")),
    )


def _read_cancel(row: Record) -> RunFilter | KeyChoice:
    given = row["filter"]
    return KeyChoice(row["environment"], given["workflow"], given["key"]) if "key" in given else _read_run_filter(row)


def _read_retry(row: Record) -> RunFilter | RetryChoice:
    given = row["filter"]
    mending = Mending(given.get("from"), given.get("version", "pinned"), given.get("parameters"))
    return _read_run_filter(row) if mending.is_empty else RetryChoice(_read_run_filter(row), mending)


def _read_schedule_filter(row: Record) -> ScheduleFilter:
    given = row["filter"]
    return ScheduleFilter(
        environment=row["environment"],
        workflow=given.get("workflow"),
        since=_moment(given.get("since")),
        until=_moment(given.get("until")),
        list_id=_id(given.get("list")),
        chain_id=_id(given.get("chain")),
    )


def _read_delivery_filter(row: Record) -> DeliveryFilter:
    given = row["filter"]
    return DeliveryFilter(
        environment=row["environment"],
        source=given.get("source"),
        type=given.get("type"),
        outcome=given.get("outcome"),
        since=_moment(given.get("since")),
        until=_moment(given.get("until")),
        run_id=_id(given.get("run")),
    )


def _read_letter_choice(row: Record) -> LetterChoice:
    given = row["filter"]
    of = LetterFilter(
        environment=row["environment"],
        kind=given.get("kind"),
        state=given.get("state"),
        workflow=given.get("workflow"),
        queue=given.get("queue"),
        contains=given.get("contains"),
        since=_moment(given.get("since")),
        until=_moment(given.get("until")),
    )
    return LetterChoice(of, given.get("note"))


_FILTERS: Final[Mapping[OperationKind, Callable[[Record], Filter]]] = {
    OperationKind.CANCEL_RUNS: _read_cancel,
    OperationKind.RETRY_RUNS: _read_retry,
    OperationKind.CANCEL_SCHEDULE: _read_schedule_filter,
    OperationKind.REPLAY_DELIVERIES: _read_delivery_filter,
    OperationKind.RETRY_LETTERS: _read_letter_choice,
    OperationKind.DISCARD_LETTERS: _read_letter_choice,
    OperationKind.RESOLVE_LETTERS: _read_letter_choice,
}


def _id(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
