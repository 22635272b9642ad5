"""The verbs of the management API on many runs at once: each begins an operation, and takes its first turn."""

from collections.abc import Mapping
from functools import partial
from typing import Final
from uuid import UUID

from penstock.broker.publisher import Publisher
from penstock.contracts.messages import WakeScheduler
from penstock.domain.ids import keyed_run_id
from penstock.domain.runs import Rejected
from penstock.domain.states import RunState
from penstock.errors import BrokerUnavailable
from penstock.logs import get_logger
from penstock.runs import operations
from penstock.runs.mending import check_mending
from penstock.runs.operations import (
    Asked,
    Filter,
    KeyChoice,
    OperationKind,
    RetryChoice,
    Turn,
    begin_operation,
    find_operation,
    take_turn_of,
)
from penstock.runs.views.finding import RunFilter
from penstock_ingress.handlers.pages import read_schedule_filter
from penstock_ingress.repository.views import Operation
from penstock_ingress.room import Room
from penstock_ingress.rules.management import RunCancelChoice, RunChoice, RunRetryChoice
from penstock_ingress.rules.replies import Refusal, problem

log = get_logger(__name__)
_BY: Final = "the management API"
_LIVE: Final = frozenset({RunState.SCHEDULED, RunState.QUEUED, RunState.RUNNING, RunState.WAITING})


async def cancel_runs(room: Room, environment: str, wanted: RunCancelChoice, actor: str) -> Operation:
    """Cancel the runs that have not ended and meet the filter, or were scheduled under the key. Raises Refusal."""
    if wanted.key is not None and wanted.workflow is not None:
        return await begin(room, OperationKind.CANCEL_RUNS, KeyChoice(environment, wanted.workflow, wanted.key), actor)
    _check_states(wanted, _LIVE, "cancelled")
    return await begin(room, OperationKind.CANCEL_RUNS, _read(environment, wanted, "cancel"), actor)


async def retry_runs(room: Room, environment: str, wanted: RunRetryChoice, actor: str) -> Operation:
    """Take up again the runs that have failed and meet the filter, with what was mended. Raises Refusal."""
    _check_states(wanted, frozenset({RunState.FAILED}), "retried")
    of, mending = _read(environment, wanted, "retry"), wanted.mending()
    if mending.is_empty:
        return await begin(room, OperationKind.RETRY_RUNS, of, actor)
    async with room.database.connection() as conn:
        checked = await check_mending(conn, environment=environment, workflow=of.workflow, mending=mending)
    if isinstance(checked, Rejected):
        raise Refusal(problem(422, checked.message, extensions={"code": checked.code}))
    return await begin(room, OperationKind.RETRY_RUNS, RetryChoice(of, checked), actor)


async def cancel_schedule(room: Room, environment: str, query: Mapping[str, str], actor: str) -> Operation:
    """Cancel all runs that are coming and match, and the rest of lists that do; recurrences stay. Raises Refusal when
    nothing narrows it down and `all` is not true.
    """
    wanted = read_schedule_filter(environment, query)
    is_all = _read_all(query)
    if wanted.is_everything and not is_all:
        detail = f"this would cancel all that is coming in {environment}; narrow it down, or send all=true"
        raise Refusal(problem(422, detail))
    if is_all and not wanted.is_everything:
        raise Refusal(problem(422, "all: give either all=true or a filter"))
    return await begin(room, OperationKind.CANCEL_SCHEDULE, wanted, actor)


async def show_operation(room: Room, environment: str, id: UUID) -> Operation:
    """An operation and how far it is. Raises Refusal."""
    async with room.database.connection() as conn:
        found = await find_operation(conn, environment=environment, id=id)
    if found is None:
        raise Refusal(problem(404, f"{environment} has no operation {id}; those that are over are kept for 30 days"))
    return _show(found)


async def begin(room: Room, kind: OperationKind, of: Filter, actor: str, key: str | None = None) -> Operation:
    """Begin an operation, and take its first turn; with a `key` that was used before, that of then. Raises Refusal."""
    id = None if key is None else keyed_run_id(of.environment or "", kind.value, key)
    store = partial(begin_operation, kind=kind, of=of, asked=Asked(actor, _BY), id=id)
    begun = await room.database.in_transaction(store)
    if begun.of != of:
        raise Refusal(problem(422, "this Idempotency-Key was used before with another filter; send a new one"))
    turn = await take_turn_of(room.database, begun.id)
    if turn is None:  # a scheduler was faster, or it failed
        return await show_operation(room, begun.environment, begun.id)
    await _announce(room.publisher, turn)
    return _show(turn.operation)


async def _announce(publisher: Publisher, turn: Turn) -> None:
    for run in turn.cancelled:
        publisher.run_event(RunState.CANCELLED.value, run, reason=f"cancelled by {_BY}")
    publisher.announce(turn.admissions)
    if turn.retried or turn.admissions or not turn.operation.is_over:
        await wake_schedulers(publisher, turn.operation.environment)


async def wake_schedulers(publisher: Publisher, environment: str) -> None:
    """Have schedulers look now for what is due, has been released, or is left to do; without a broker they find it
    within a second.
    """
    try:
        await publisher.nudge(environment, WakeScheduler.model_construct())
    except BrokerUnavailable as error:
        log.warning("broker.unreachable", error=str(error))


def _read(environment: str, wanted: RunChoice, verb: str) -> RunFilter:
    if wanted.is_everything != wanted.all:
        detail = (
            f"this would {verb} all runs in {environment}; narrow it down, or send all: true"
            if wanted.is_everything
            else "all: give either all: true or a filter"
        )
        raise Refusal(problem(422, detail))
    return RunFilter(
        environment, wanted.workflow, wanted.state, wanted.chain, wanted.parent, wanted.since, wanted.until,
        wanted.contains,
    )  # fmt: skip


def _check_states(wanted: RunChoice, possible: frozenset[RunState], what: str) -> None:
    wrong = sorted(state.value for state in wanted.state or () if state not in possible)
    if wrong:
        known = ", ".join(state.value for state in RunState if state in possible)
        raise Refusal(problem(422, f"state: runs that are {wrong[0]} cannot be {what}, only those that are {known}"))


def _read_all(query: Mapping[str, str]) -> bool:
    text = query.get("all", "false")
    if text not in ("true", "false"):
        raise Refusal(problem(400, "all: expected true or false"))
    return text == "true"


def _show(of: operations.Operation) -> Operation:
    return Operation(
        id=of.id,
        environment=of.environment,
        kind=of.kind.value,
        state=of.state,
        filter=of.filter,
        total=of.total,
        done=of.done,
        items=of.items,
        error=of.error,
        actor=of.actor,
        created_at=of.created_at,
        finished_at=of.finished_at,
    )
