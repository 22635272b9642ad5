"""Due recurrences start their runs. The run of a tick and the recurrence's new position are one transaction.

The run's id derives from the recurrence and the tick, so not even a recurrence that is set again makes a second run for
one tick. A tick that is refused, because its workflow is gone or requires what it does not give, is a Workflow error,
and the next one is tried as if nothing had been. One that cannot be decided at all is put off, so that it does not keep
all others waiting.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock import clock
from penstock.db import Connection, isolate
from penstock.definitions.models import ENVIRONMENTS
from penstock.domain.ids import tick_run_id
from penstock.domain.notices import NoticeKind
from penstock.domain.recurrences import Recurrence, TickDecision, decide_ticks
from penstock.domain.runs import Admission, Admitted, Rejected, RunSummary
from penstock.domain.states import RunState, Trigger
from penstock.domain.workload import Activity
from penstock.errors import PenstockError, StaleDefinitions
from penstock.logs import get_logger
from penstock.metrics import RECURRENCE_TICKS
from penstock.runs.cancellations import cancel_runs
from penstock.runs.recurrences.history import KEPT_TICKS, Tick, pause_failing, record_ticks
from penstock.runs.recurrences.rows import get_time
from penstock.runs.requests import RunRequest
from penstock.runs.schedule.pauses import has_pauses
from penstock.runtime import Counts
from penstock.store.deployments import CompiledDeployment
from penstock.store.logs import LogEvent, LogLine, Subject, error_line, write_logs
from penstock.store.notices import Notice, request_notices
from penstock_scheduler import rules
from penstock_scheduler.admitting.admissions import admit_prepared, prepare_all
from penstock_scheduler.repository import recurrences as repository
from penstock_scheduler.repository.recurrences import Progress
from penstock_scheduler.room import Room

log = get_logger(__name__)

BATCH: Final = 200
_PUT_OFF: Final = timedelta(minutes=1)
_CANCELLED_BY: Final = "the next tick of its recurrence (overlap: cancel_other)"
_TICKS: Final = {name: RECURRENCE_TICKS.labels(name) for name in ("ticks", "skipped", "missed", "refused")}
_DROPPED: Final = "the schedule was paused then, and resumed without what was missed"
Deployments = dict[str, CompiledDeployment]


@dataclass(slots=True)
class Turn:
    """What became of the recurrences of one transaction, and of their ticks."""

    outcomes: list[Admission] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    cancelled: list[RunSummary] = field(default_factory=list)

    def add(self, other: "Turn") -> None:
        """Note what became of further recurrences."""
        self.outcomes += other.outcomes
        self.progress += other.progress
        self.cancelled += other.cancelled

    def count(self) -> dict[str, int]:
        """Ticks, by what became of them."""
        return {name: sum(getattr(step, name) for step in self.progress) for name in _TICKS}


@dataclass(frozen=True, slots=True)
class _Decided:
    recurrence: Recurrence
    decision: TickDecision

    def want(self) -> list[RunRequest]:
        """The runs of its ticks: roots, due at the tick's time when that is now, else at once."""
        of = self.recurrence
        return [
            RunRequest(
                run_id=tick_run_id(of.id, tick_at),
                environment=of.environment,
                workflow=of.workflow,
                parameters=of.parameters,
                trigger=Trigger.RECURRENCE,
                scheduled_at=of.due_time(tick_at) if self.decision.is_on_time else None,
                context=of.run_context(tick_at),
            )
            for tick_at in self.decision.ticks
        ]


async def tick_recurrences(room: Room) -> Counts:
    """Start the runs of all ticks that are due; rests until the next is."""
    counts: dict[str, int] = {}
    async with room.database.connection() as conn:
        if await has_pauses(conn):
            await repository.park_paused(conn, most=BATCH)
    while not room.stop.soft.is_set():
        turn = await _take_turn(room)
        for name, count in turn.count().items():
            counts[name] = counts.get(name, 0) + count
        if len(turn.progress) < BATCH:
            break
    async with room.database.connection() as conn:
        next_due = await repository.find_next_tick_due(conn)
    wait = rules.next_wait(did_work=bool(counts.get("ticks")), is_full=False, next_due_seconds=next_due)
    return Counts(counts, wait)


async def _take_turn(room: Room) -> Turn:
    claimed: list[UUID] = []
    try:
        return await _tick(room, claimed)
    except PenstockError:
        raise
    except Exception as error:
        log.error("recurrence.batch_failed", recurrences=len(claimed), error=f"{type(error).__name__}: {error}")
    return await _tick_apart(room, claimed)


async def _tick_apart(room: Room, ids: Sequence[UUID]) -> Turn:
    """Tick these without the ones whose tick cannot be decided or stored; those are found, and put off."""
    turn = Turn()

    async def tick(some: list[UUID]) -> list[None]:
        turn.add(await _tick(room, [], only=some))
        return [None] * len(some)

    for id, failure in zip(ids, await isolate(ids, tick), strict=True):
        if isinstance(failure, PenstockError) or not isinstance(failure, Exception | None):
            raise failure
        if failure is not None:
            await _put_off(room, id, failure)
    return turn


async def _put_off(room: Room, id: UUID, error: Exception) -> None:
    log.error("recurrence.put_off", recurrence_id=str(id), error=f"{type(error).__name__}: {error}", exc_info=error)
    async with room.database.connection() as conn:
        await repository.postpone(conn, id=id, by=_PUT_OFF)


async def _tick(room: Room, claimed: list[UUID], *, only: Sequence[UUID] | None = None) -> Turn:
    async def work(deployments: Deployments, is_newest: bool) -> Turn:
        return await room.database.in_transaction(
            partial(_tick_claimed, claimed=claimed, only=only, deployments=deployments, is_newest=is_newest)
        )

    turn = await room.admissions.with_current(work)
    if turn.outcomes:
        await room.admissions.tell([outcome for outcome in turn.outcomes if not isinstance(outcome, Rejected)])
    for run in turn.cancelled:
        room.publisher.run_event(RunState.CANCELLED.value, run, reason=f"cancelled by {_CANCELLED_BY}")
    for outcome in turn.outcomes:
        if isinstance(outcome, Admitted):
            room.meter.count(outcome.run.environment, outcome.run.workflow, {Activity.ITEM_SCHEDULED: 1})
    for name, count in turn.count().items():
        _TICKS[name].inc(count)
    return turn


async def _tick_claimed(
    conn: Connection, *, claimed: list[UUID], only: Sequence[UUID] | None, deployments: Deployments, is_newest: bool
) -> Turn:
    """Claim what is due, decide, admit, move on. Raises StaleDefinitions."""
    due = await repository.claim_due_recurrences(conn, most=BATCH, only=only)
    claimed[:] = [recurrence.id for recurrence in due]
    if not due:
        return Turn()
    last_runs = [recurrence.last_run_id for recurrence in due if recurrence.last_run_id is not None]
    live = await repository.list_live(conn, run_ids=last_runs) if last_runs else set[UUID]()
    now = await get_time(conn)
    decided = [
        _Decided(recurrence, decide_ticks(recurrence, now, is_live=recurrence.last_run_id in live))
        for recurrence in due
    ]
    wanted = [(number, run) for number, one in enumerate(decided) for run in one.want()]
    prepared = await prepare_all([run for _, run in wanted], deployments)
    if not is_newest and any(isinstance(request, Rejected) for request in prepared):
        raise StaleDefinitions("what is refused may have been deployed since")
    cancelled = await _cancel_others(conn, decided)
    outcomes = await admit_prepared(conn, prepared)
    results: dict[int, list[tuple[RunRequest, Admission]]] = {
        number: [(run, outcome) for (_, run), outcome in found]
        for number, found in groupby(zip(wanted, outcomes, strict=True), key=lambda pair: pair[0][0])
    }
    progress = [_progress(one, results.get(number, [])) for number, one in enumerate(decided)]
    await repository.move_on(conn, progress=progress)
    await record_ticks(conn, [tick for n, one in enumerate(decided) for tick in _ticks_of(one, results.get(n, []))])
    lines = [line for number, one in enumerate(decided) for line in _lines(one, results.get(number, []))]
    if lines:
        await write_logs(conn, lines)
        await request_notices(conn, [_notice(line) for line in lines if line.event is LogEvent.WORKFLOW_ERROR])
    return Turn(outcomes, progress, cancelled)


async def _cancel_others(conn: Connection, decided: Sequence[_Decided]) -> list[RunSummary]:
    """Cancel the runs before that their next tick is to replace."""
    cancelled: list[RunSummary] = []
    for environment in ENVIRONMENTS:
        ids = [
            one.recurrence.last_run_id
            for one in decided
            if one.decision.cancels and one.recurrence.last_run_id and one.recurrence.environment == environment
        ]
        if ids:
            cancelled += await cancel_runs(conn, environment=environment, run_ids=ids, by=_CANCELLED_BY)
    return cancelled


def _ticks_of(one: _Decided, results: Sequence[tuple[RunRequest, Admission]]) -> list[Tick]:
    """What became of the ticks, the last ones if they are many."""
    decision, id = one.decision, one.recurrence.id
    ticks = [Tick(id, tick_at, "dropped", reason=_DROPPED) for tick_at in decision.dropped[-KEPT_TICKS:]]
    ticks += [Tick(id, tick_at, "missed", reason=_missed(one)) for tick_at in decision.missed[-KEPT_TICKS:]]
    ticks += [Tick(id, tick_at, "skipped", reason=_skipped(one)) for tick_at in decision.skipped[-KEPT_TICKS:]]
    for tick_at, (request, outcome) in zip(decision.ticks, results, strict=True):
        if isinstance(outcome, Rejected):
            ticks.append(Tick(id, tick_at, "refused", reason=outcome.message))
        else:
            ticks.append(Tick(id, tick_at, "started", request.run_id))
    return ticks


def _notice(line: LogLine) -> Notice:
    """That a recurrence could not start its run."""
    return Notice(line.environment, NoticeKind.RECURRENCES, {"message": line.message, "workflow": line.workflow})


def _progress(one: _Decided, results: Sequence[tuple[RunRequest, Admission]]) -> Progress:
    decision = one.decision
    refused = sum(isinstance(outcome, Rejected) for _, outcome in results)
    has_run = bool(results) and not isinstance(results[-1][1], Rejected)
    return Progress(
        id=one.recurrence.id,
        next_tick_at=decision.next_tick_at,
        due_at=decision.due_at,
        held_since=decision.held_since,
        tick_at=decision.ticks[-1] if decision.ticks else None,
        run_id=results[-1][0].run_id if has_run else None,
        ticks=len(results) - refused,
        skipped=len(decision.skipped),
        missed=len(decision.missed) + len(decision.dropped),
        refused=refused,
        used=len(decision.ticks),
    )


def _skipped(one: _Decided) -> str:
    of = one.recurrence
    return f"the run {of.last_run_id} of the tick before had not ended (overlap: {of.overlap})"


def _missed(one: _Decided) -> str:
    of = one.recurrence
    if one.decision.ticks:
        return f"no scheduler worked then, and with overlap: {of.overlap} only the latest is made up"
    return f"no scheduler worked then, and it is longer ago than catch_up ({of.catch_up})"


def _lines(one: _Decided, results: Sequence[tuple[RunRequest, Admission]]) -> list[LogLine]:
    """What an author has to know of ticks that made no run."""
    of, decision = one.recurrence, one.decision
    lines = []
    if decision.skipped:
        reason = _skipped(one)
        lines.append(_line(of, f"{_ticks(decision.skipped)} of {of.workflow} made no run: {reason}", "overlap"))
    if decision.missed:
        reason = _missed(one)
        lines.append(_line(of, f"{_ticks(decision.missed)} of {of.workflow} made no run: {reason}", "missed"))
    if decision.dropped:
        lines.append(_line(of, f"{_ticks(decision.dropped)} of {of.workflow} made no run: {_DROPPED}", "dropped"))
    rejected = [outcome for _, outcome in results if isinstance(outcome, Rejected)]
    if rejected:
        message = (
            f"Workflow error: {_ticks(decision.ticks)} of {of.workflow} could not be started: {rejected[-1].message}"
        )
        details: JsonValue = {"kind": rejected[-1].code, "recurrence_id": str(of.id)}
        lines.append(error_line(Subject(of.environment, of.workflow), message, details))
    return lines


def _ticks(ticks: Sequence[datetime]) -> str:
    first = ticks[0].isoformat()
    return f"the tick of {first}" if len(ticks) == 1 else f"{len(ticks)} ticks from {first} to {ticks[-1].isoformat()}"


def _line(of: Recurrence, message: str, kind: str) -> LogLine:
    details: JsonValue = {"kind": kind, "recurrence_id": str(of.id)}
    return LogLine(
        at=clock.now(),
        environment=of.environment,
        level="warning",
        event=LogEvent.TICKS_PASSED_OVER,
        message=message,
        workflow=of.workflow,
        details=details,
    )


async def pause_failing_recurrences(room: Room) -> Counts:
    """Pause recurrences that fail again and again, those that say after how many failures."""
    return Counts({"paused": await room.database.in_transaction(partial(pause_failing, most=BATCH))})
