"""What internal services ask about runs, and do to them, by message: look at one, cancel one, send a signal."""

from collections.abc import Sequence
from functools import partial
from typing import Final, cast
from uuid import UUID

from pydantic import JsonValue

from penstock.contracts.envelope import Message
from penstock.contracts.messages import CancelRun, CancelRuns, SendSignal, ShowRun
from penstock.db import Connection
from penstock.domain.ids import keyed_run_id, new_run_id
from penstock.domain.runs import Duplicate, Rejected, RunSummary
from penstock.errors import DecodeError
from penstock.runs.cancellations import cancel_runs
from penstock.runs.idempotency import bind_keys
from penstock.runs.operations import Asked, KeyChoice, OperationKind, begin_operation, take_turn_of
from penstock.runs.views.models import Run
from penstock.runs.views.runs import find_run
from penstock.runs.waits_and_signals import post_signal
from penstock.storable import storable_value
from penstock_scheduler import rules
from penstock_scheduler.admitting.unnamed import is_unnamed, recognise
from penstock_scheduler.handlers.messages import read_key
from penstock_scheduler.room import Room
from penstock_scheduler.runs import Denied, Refused

Reply = dict[str, object]
_BY: Final = "a message"


async def show_run(room: Room, message: Message) -> Reply:
    """The run as it is now. Raises DecodeError, and Denied when there is none."""
    asked = ShowRun.decode(message.body)
    rules.check_environment(asked.environment)
    if not message.reply_to:
        raise DecodeError("reply_to: name the queue that wants the answer")
    run = await _get_run(room, asked.environment, asked.run_id)
    return {
        "run_id": str(asked.run_id),
        "workflow": run.workflow,
        "state": run.state.value,
        "result": run.result,
        "error": run.error,
        "created_at": run.created_at,
        "finished_at": run.finished_at,
    }


async def cancel_run(room: Room, message: Message) -> Reply:
    """Cancel the run unless it has ended; its executor hears of it by the event. Raises DecodeError, and Denied when
    there is none.
    """
    asked = CancelRun.decode(message.body)
    rules.check_environment(asked.environment)
    cancelled = await room.database.in_transaction(
        lambda conn: cancel_runs(
            conn, environment=asked.environment, run_ids=[asked.run_id], by=_BY, actor=f"message {message.message_id}"
        )
    )
    _announce(room, cancelled)
    run = await _get_run(room, asked.environment, asked.run_id)
    return {"run_id": str(asked.run_id), "state": run.state.value, "cancelled": bool(cancelled)}


async def cancel_runs_of_key(room: Room, message: Message) -> Reply:
    """Cancel what was scheduled under a key, as an operation: the first turn at once, the rest by the loop that works
    operations off. A copy begins none. Raises DecodeError and Refused.
    """
    asked = CancelRuns.decode(message.body)
    rules.check_environment(asked.environment)
    of = KeyChoice(asked.environment, asked.workflow, asked.key)
    begun = await room.database.in_transaction(
        partial(
            begin_operation,
            kind=OperationKind.CANCEL_RUNS,
            of=of,
            asked=Asked(f"message {message.message_id}", _BY),
            id=keyed_run_id(asked.environment, f"{OperationKind.CANCEL_RUNS}/message", message.message_id or ""),
        )
    )
    if begun.of != of:
        raise Refused(Rejected("idempotency_conflict", "message_id: it was used before for another workflow or key"))
    turn = None if begun.is_over else await take_turn_of(room.database, begun.id)
    if turn is not None:
        _announce(room, turn.cancelled)
        begun = turn.operation
    return {"cancelled": begun.done, "is_over": begun.is_over}


async def send_signal(room: Room, message: Message) -> Reply:
    """Wake the runs that wait for the signal, or keep it for one that will. A copy does nothing. Raises DecodeError and
    Refused.
    """
    signal = SendSignal.decode(message.body)
    rules.check_environment(signal.environment)
    key = read_key(message)
    if key is not None and is_unnamed(message):
        await recognise(room.database, signal.environment, message, key)

    async def post(conn: Connection) -> list[RunSummary] | Duplicate | Rejected:
        # The key is bound to the id of a run that never is: what counts is whether it was bound.
        bound = (await bind_keys(conn, [(0, signal.environment, key, new_run_id())])).get(0)
        if isinstance(bound, Duplicate | Rejected):
            return bound
        payload = cast("JsonValue", {} if signal.payload is None else storable_value(signal.payload))
        return await post_signal(conn, environment=signal.environment, name=signal.name, payload=payload)

    match await room.database.in_transaction(post):
        case Duplicate():
            return {"woken": 0, "kept": False, "duplicate": True}
        case Rejected() as rejected:
            raise Refused(rejected)
        case woken:
            await room.dispatches.begin(woken)
            return {"woken": len(woken), "kept": not woken, "duplicate": False}


def _announce(room: Room, cancelled: Sequence[RunSummary]) -> None:
    for run in cancelled:
        room.publisher.run_event("cancelled", run, reason=f"cancelled by {_BY}")


async def _get_run(room: Room, environment: str, run_id: UUID) -> Run:
    async with room.database.connection() as conn:
        found = await find_run(conn, environment=environment, run_id=run_id)
    if found is None:
        raise Denied(Rejected("unknown_run", f"{environment} has no run {run_id}"))
    return found.plain
