"""The executor's one verb: perform the runs that a message names. Claim → load → perform steps → decide → record.

The message is acknowledged as soon as the claims have committed: from then on the leases, not the message, bring back
the runs of an executor that dies (`leases` says how). Whatever is lost before that is found by a scheduler, because the
rows are the truth.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from penstock.broker.port import Delivery
from penstock.contracts import envelope
from penstock.contracts.messages import DueRun, ExecuteRuns, RunAnswer, RunEvent, RunEvents
from penstock.contracts.topology import BULK_LANE, DEFAULT_LANE, executor_queue
from penstock.definitions.models import DEFAULT_PRIORITY
from penstock.domain.depth import MAX_DEPTH, parse_depth
from penstock.domain.runs import Terminated
from penstock.domain.states import RunState
from penstock.errors import (
    BrokerUnavailable,
    DatabaseUnavailable,
    DecodeError,
)
from penstock.logs import get_logger
from penstock.metrics import DEAD_LETTERED
from penstock_executor.holding.leases import Lease
from penstock_executor.room import Room
from penstock_executor.running.together import begin_runs, load_plans

log = get_logger(__name__)

HAND_BACK_SECONDS: Final = 5.0
"""How long a message waits for slots before the rest of it is offered to other executors."""
MAX_MESSAGES: Final = 100
"""Messages of a lane that may wait here for slots, so that those of a higher priority overtake the others. Each names
up to a hundred runs that other executors could perform.
"""


async def receive(room: Room, delivery: Delivery) -> None:
    """Handle one message and settle it."""
    handle = HANDLERS.get(delivery.message.type or ExecuteRuns.TYPE)
    if handle is None:
        await _refuse(delivery, f"executors do not know messages of type {delivery.message.type!r}")
    else:
        await handle(room, delivery)


async def _refuse(delivery: Delivery, reason: str) -> None:
    DEAD_LETTERED.labels(executor_queue()).inc()
    log.warning("message.dead_lettered", queue=executor_queue(), reason=reason)
    await delivery.dead_letter(reason)


async def execute_runs(room: Room, delivery: Delivery) -> None:
    """Take as many of the message's runs as there are slots for, hand the rest back, and settle the message."""
    room.messages += 1
    try:
        message = ExecuteRuns.decode(delivery.message.body)
        environment, depth = await _check_headers(room, delivery, message.runs)
        lane, priority = read_order(delivery.message.headers)
        waiting = message.runs
        until = asyncio.get_running_loop().time() + HAND_BACK_SECONDS
        while waiting and (taken := await room.slots.take(len(waiting), until=until, lane=lane, priority=priority)):
            now, waiting = waiting[:taken], waiting[taken:]
            await _begin(room, now, slots=taken, lane=lane)
        if len(waiting) == len(message.runs) and room.slots.is_closed:
            await delivery.requeue()
            return
        if waiting:
            await room.publisher.execute(environment, depth, waiting, lane=lane, priority=priority)
        await delivery.ack()
    except DecodeError as error:
        await _refuse(delivery, error.reason)
    except (DatabaseUnavailable, BrokerUnavailable) as error:
        # Runs of this message that are claimed already are not claimed again when it comes back.
        log.warning(
            "database.unavailable" if isinstance(error, DatabaseUnavailable) else "dispatch.failed", error=str(error)
        )
        await room.database.wait_until_ready(room.stop.soft.is_set)
        await delivery.requeue()
    finally:
        room.messages -= 1


async def _check_headers(room: Room, delivery: Delivery, runs: Sequence[DueRun]) -> tuple[str, int]:
    """Environment and depth of the message. Raises DecodeError for one that no executor may take."""
    headers = delivery.message.headers
    depth, environment = parse_depth(headers.get(envelope.DEPTH)), headers.get(envelope.ENVIRONMENT)
    if depth is None:
        raise DecodeError(
            f"header depth is missing, or is not a whole number from 0 to {MAX_DEPTH}; every execute message carries it"
        )
    try:
        limit = await room.limits.find_exceeded(str(environment), depth, (run.workflow for run in runs))
    except KeyError:
        raise DecodeError(f"header environment is {environment!r}, and there is no such environment") from None
    if limit is not None:
        # Their rows would be dispatched again and again: those that are as deep as the message says end here.
        _answer_terminated(room, runs, await room.claims.refuse([run.run_id for run in runs]))
        if not await room.claims.can_be_this_deep([run.run_id for run in runs], depth):
            raise DecodeError(f"depth {depth} is beyond the limit of {limit} in {environment}")
    return str(environment), depth


def read_order(headers: Mapping[str, object]) -> tuple[str, int]:
    """Lane and priority of a message; those of most runs where it does not say, as services of other releases may
    not.
    """
    lane, priority = headers.get(envelope.LANE), headers.get(envelope.PRIORITY)
    if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= 9:
        priority = DEFAULT_PRIORITY
    return BULK_LANE if lane == BULK_LANE else DEFAULT_LANE, priority


async def _begin(room: Room, due: Sequence[DueRun], *, slots: int, lane: str) -> None:
    """Claim runs and start to perform those that could be claimed; the slots of the others are given back."""
    leases: list[Lease] = []
    try:
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        reply_to = {run.run_id: run.reply_to for run in due if run.reply_to is not None}
        if reply_to:
            room.courtesy.begin()
        claimed = await room.claims.claim([run.run_id for run in due], lane)
        if reply_to:
            room.courtesy.note(loop.time() - sent_at)
        await load_plans(room, claimed.runs)
        for run in claimed.runs:
            lease = room.leases.begin(run, reply_to.get(run.id), sent_at)
            lease.lane = lane
            leases.append(lease)
    finally:
        room.slots.give_back(slots - len(leases), lane)
    begin_runs(room, leases)
    if claimed.terminated:
        _answer_terminated(room, due, claimed.terminated)


def _answer_terminated(room: Room, due: Sequence[DueRun], terminated: Sequence[Terminated]) -> None:
    ended = {end.run.id: end for end in terminated}
    for run in due:
        if run.reply_to is not None and run.run_id in ended:
            error: JsonValue = {"kind": ended[run.run_id].reason.value, "path": list(ended[run.run_id].path)}
            room.publisher.answer(
                run.reply_to, RunAnswer.model_construct(run_id=run.run_id, state=RunState.TERMINATED, error=error)
            )


async def note_cancelled(room: Room, delivery: Delivery) -> None:
    """Stop runs that were cancelled, if they are performed here. Best effort: the next renewal notices it too."""
    message = delivery.message
    try:
        many = message.type == RunEvents.TYPE
        for event in RunEvents.decode(message.body).events if many else (RunEvent.decode(message.body),):
            room.leases.cancel(event.id)
    except DecodeError as error:
        log.warning("message.ignored", reason=error.reason)


Handle = Callable[[Room, Delivery], Awaitable[None]]
HANDLERS: Final[Mapping[str, Handle]] = {ExecuteRuns.TYPE: execute_runs}
"""By the message's type."""
