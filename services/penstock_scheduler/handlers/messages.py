"""A schedule message of an internal service, in any language: one run, or a list of them, and the answer to it."""

import asyncio
import hashlib
from datetime import timedelta
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock import clock
from penstock.contracts import envelope
from penstock.contracts.envelope import Message
from penstock.contracts.messages import ScheduleRun
from penstock.contracts.topology import SCHEDULER_QUEUE
from penstock.db import Connection
from penstock.domain.ids import child_run_id, new_run_id
from penstock.domain.lineage import Lineage
from penstock.domain.runs import Admitted, Duplicate, Rejected, Terminated
from penstock.domain.states import Trigger
from penstock.domain.workload import Activity
from penstock.errors import DecodeError, PenstockError
from penstock.runs.idempotency import IdempotencyKey, bind_keys
from penstock.runs.lists import ListRequest, insert_list
from penstock.runs.requests import RunRequest, describe_unknown_workflow, find_refusal
from penstock.tracing import active
from penstock_scheduler import rules
from penstock_scheduler.admitting.admissions import YIELD_EVERY
from penstock_scheduler.admitting.unnamed import is_unnamed, recognise, unnamed_key
from penstock_scheduler.repository.lists import find_list_state
from penstock_scheduler.repository.runs import find_fingerprint, find_run_environment, find_run_state
from penstock_scheduler.room import Room
from penstock_scheduler.runs import Denied, Refused

Reply = dict[str, JsonValue]
KEY_SCOPE: Final = "message"
BIG_BYTES: Final = 65_536
"""Messages beyond this take turns, before they are decoded: that makes up to twenty times as much of them."""


async def schedule_run(room: Room, message: Message) -> Reply:
    """Admit what the message asks for: `{run_id | list_id, state, duplicate}`. Raises DecodeError and Refused."""
    spans = active()
    if spans is None:
        return await _take_turn(room, message)
    traceparent = message.headers.get(envelope.TRACEPARENT)
    given = traceparent if isinstance(traceparent, str) else None
    span = spans.begin_message(ScheduleRun.TYPE, SCHEDULER_QUEUE, given)
    try:
        return await _take_turn(room, message)
    except Exception as error:
        span.fail(type(error).__name__)
        raise
    finally:
        span.end()


async def _take_turn(room: Room, message: Message) -> Reply:
    if len(message.body) <= BIG_BYTES:
        return await _schedule(room, message)
    async with room.big_messages:
        return await _schedule(room, message)


def _find_context(message: Message, lineage: Lineage) -> dict[str, JsonValue] | None:
    """What the run keeps of its trace. Where traces are recorded, a root begins below the span of its message; a child
    is below its parent.
    """
    context, spans = rules.read_context(message.headers), active()
    current = None if spans is None or lineage.parent_run_id is not None else spans.current_traceparent()
    return context if current is None else {"trace": {"traceparent": current}}


async def _schedule(room: Room, message: Message) -> Reply:
    asked = ScheduleRun.decode(message.body)
    rules.check_environment(asked.environment)
    lineage, key = rules.read_lineage(message.headers), read_key(message)
    if key is not None and is_unnamed(message):
        await recognise(room.database, asked.environment, message, key)
    if asked.list_ is not None:
        return await _accept_list(room, asked, lineage, key)
    run = RunRequest(
        run_id=derive_id(lineage.parent_run_id, key),
        environment=asked.environment,
        workflow=asked.workflow,
        parameters=asked.parameters,
        trigger=Trigger.RUN if lineage.parent_run_id else Trigger.MESSAGE,
        lineage=lineage,
        scheduled_at=rules.due_at(asked),
        priority=asked.priority,
        context=_find_context(message, lineage),
        key=key,
    )
    match await room.admissions.admit_awaited(run, rules.read_wish(message)):
        case Admitted(run=admitted) | Terminated(run=admitted):
            room.meter.count(run.environment, run.workflow, {Activity.ITEM_SCHEDULED: 1})
            return {"run_id": str(admitted.id), "state": admitted.state.value, "duplicate": False}
        case Duplicate(of=run_id):
            return await _describe_duplicate(room, run_id, run.environment, key)
        case Rejected() as rejected:
            raise refuse(rejected)


def refuse(rejected: Rejected) -> Refused | Denied:
    """The error for a message that is rejected. One with a password is not put into the dead letters: it would be kept
    there.
    """
    return Denied(rejected) if rejected.code == "unsealed_password" else Refused(rejected)


def read_key(message: Message) -> IdempotencyKey | None:
    """The message's key, and the hash by which another request with that key is recognised. Raises DecodeError."""
    if is_unnamed(message):
        return unnamed_key(message)
    key = rules.read_key(message)
    return None if key is None else IdempotencyKey(KEY_SCOPE, key, hashlib.sha256(message.body).digest())


def derive_id(parent_run_id: UUID | None, key: IdempotencyKey | None) -> UUID:
    """A new id; for a child with a key always the same, so that it holds for as long as the run is stored.

    The prefix, which no step's path can have, keeps a message's key apart from the steps of the same parent.
    """
    return new_run_id() if parent_run_id is None or key is None else child_run_id(parent_run_id, f"message:{key.key}")


async def _describe_duplicate(room: Room, run_id: UUID, environment: str, key: IdempotencyKey | None) -> Reply:
    async with room.database.connection() as conn:
        await _check_fingerprint(conn, environment, key)
        state = await find_run_state(conn, run_id=run_id)
    return {"run_id": str(run_id), "state": None if state is None else state.value, "duplicate": True}


async def _check_fingerprint(conn: Connection, environment: str, key: IdempotencyKey | None) -> None:
    """A child's id is derived from its key, so another request with that key has the same id. Raises Refused for it."""
    if key is None:
        return
    fingerprint = await find_fingerprint(conn, environment=environment, scope=key.scope, key=key.key)
    if fingerprint is not None and fingerprint != key.fingerprint:
        message = f"idempotency key {key.key!r} was used before with another request; use a new key for a new request"
        raise Refused(Rejected("idempotency_conflict", message))


async def _accept_list(room: Room, asked: ScheduleRun, lineage: Lineage, key: IdempotencyKey | None) -> Reply:
    start_at = rules.due_at(asked) or timedelta()
    request = ListRequest(
        id=derive_id(lineage.parent_run_id, key),
        environment=asked.environment,
        workflow=asked.workflow,
        start_at=start_at,
        interval_seconds=rules.interval_seconds(
            asked, clock.now() + start_at if isinstance(start_at, timedelta) else start_at
        ),
        lineage=lineage,
        priority=asked.priority,
    )
    parameters = await _check_items(room, asked)
    try:
        reply = await room.database.in_transaction(lambda conn: _store_list(conn, request, parameters, key))
    except PenstockError:
        raise
    except Exception as error:
        raise DecodeError(f"list.items: they cannot be stored: {type(error).__name__}: {error}") from error
    room.nudges.expand.set()
    if not reply["duplicate"]:
        room.meter.count(request.environment, request.workflow, {Activity.ITEM_SCHEDULED: len(parameters)})
    return reply


async def _store_list(
    conn: Connection, request: ListRequest, parameters: list[dict[str, JsonValue]], key: IdempotencyKey | None
) -> Reply:
    if request.lineage.parent_run_id is not None:
        await _check_parent(conn, request.lineage.parent_run_id, request.environment)
    bound = (await bind_keys(conn, [(0, request.environment, key, request.id)])).get(0)
    if isinstance(bound, Rejected):
        raise Refused(bound)
    list_id = bound.of if isinstance(bound, Duplicate) else request.id
    if list_id == request.id and await insert_list(conn, request=request, parameters=parameters):
        return {"list_id": str(list_id), "state": "expanding", "duplicate": False}
    await _check_fingerprint(conn, request.environment, key)
    return {"list_id": str(list_id), "state": await find_list_state(conn, list_id=list_id), "duplicate": True}


async def _check_parent(conn: Connection, parent_run_id: UUID, environment: str) -> None:
    found = await find_run_environment(conn, run_id=parent_run_id)
    if found is None:
        raise Refused(Rejected("unknown_parent", f"parent-run-id {parent_run_id} is not a run of this installation"))
    if found != environment:
        raise Refused(
            Rejected("unknown_parent", f"parent-run-id {parent_run_id} belongs to {found}, not {environment}")
        )


async def _check_items(room: Room, asked: ScheduleRun) -> list[dict[str, JsonValue]]:
    """The checked parameters of each item's run. Raises DecodeError that names the first bad item."""
    try:
        return await _bind_items(room, asked, is_newest=False)
    except DecodeError:  # perhaps only because a newer definition was deployed
        return await _bind_items(room, asked, is_newest=True)


async def _bind_items(room: Room, asked: ScheduleRun, *, is_newest: bool) -> list[dict[str, JsonValue]]:
    assert asked.list_ is not None
    deployment = await room.admissions.current(asked.environment, is_newest=is_newest)
    workflow = deployment.app.workflows.get(asked.workflow)
    if workflow is None:
        raise Refused(
            Rejected("unknown_workflow", describe_unknown_workflow(asked.workflow, asked.environment, deployment))
        )
    open_name = rules.open_parameter(workflow, asked.parameters)
    checked: list[dict[str, JsonValue]] = []
    for index, item in enumerate(asked.list_.items):
        try:
            parameters = rules.item_parameters(asked.parameters, item, open_name)
        except ValueError as error:
            raise DecodeError(f"list.items.{index}: {error}") from None
        run = RunRequest(_NO_RUN, asked.environment, asked.workflow, parameters, Trigger.MESSAGE)
        if (refused := find_refusal(run, deployment)) is not None:
            raise refuse(Rejected(refused.code, f"list.items.{index}: {refused.message}", refused.parameter))
        checked.append(parameters)
        if index % YIELD_EVERY == YIELD_EVERY - 1:
            await asyncio.sleep(0)
    return checked


_NO_RUN = UUID(int=0)
"""Stands for the id of a run that is only checked, not admitted."""
