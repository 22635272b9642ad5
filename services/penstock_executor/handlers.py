"""The executor's one verb: perform the runs that a message names. Claim → load → perform steps → decide → record.

The message is acknowledged as soon as the claims have committed: from then on the leases, not the message, bring back
the runs of an executor that dies (`leases` says how). Whatever is lost before that is found by a scheduler, because the
rows are the truth.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from pydantic import JsonValue

from penstock.broker.port import Delivery
from penstock.contracts import envelope
from penstock.contracts.envelope import Message
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
    LeaseLost,
    Permanent,
    Transient,
)
from penstock.logs import get_logger, log_about
from penstock.metrics import DEAD_LETTERED, START_LATENESS_SECONDS
from penstock.redaction import describe
from penstock.store.notices import notify_of_dead_letter
from penstock.tracing import active
from penstock_executor.holding.leases import Lease, outlast
from penstock_executor.performing.attempt import Attempt
from penstock_executor.performing.outcome import announce, conclude, note_lost, write, write_plainly
from penstock_executor.python.code import AppCode
from penstock_executor.room import Room
from penstock_executor.runs import ClaimedRun, Ending

if TYPE_CHECKING:  # it needs OpenTelemetry's SDK, which is an extra
    from penstock.tracing.spans import ActiveSpan

log = get_logger(__name__)

HAND_BACK_SECONDS: Final = 5.0
"""How long a message waits for slots before the rest of it is offered to other executors."""
MAX_UNWRITTEN: Final = 1000
"""Finished runs that may wait to be written. Beyond that, runs keep their slots, so that a slow commit slows the
claims.
"""
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
    started = 0
    try:
        sent_at = asyncio.get_running_loop().time()
        claimed = await room.claims.claim([run.run_id for run in due])
        reply_to = {run.run_id: run.reply_to for run in due if run.reply_to is not None}
        for run in claimed.runs:
            lease = room.leases.begin(run, reply_to.get(run.id), sent_at)
            lease.lane = lane
            lease.task = room.spawn(_hold_slot(room, lease))
            started += 1
    finally:
        room.slots.give_back(slots - started, lane)
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


async def _hold_slot(room: Room, lease: Lease) -> None:
    try:
        await perform_run(room, lease)
    except Exception as error:
        # Not the run's fault, as far as we know: its lease expires, a scheduler takes it back, and gives up after the
        # third time.
        log.error("run.crashed", run_id=str(lease.run.id), workflow=lease.run.workflow, exc_info=error)
    finally:
        room.leases.end(lease)
        room.give_back_slot(lease)


async def perform_run(room: Room, lease: Lease) -> None:
    """Load, perform steps, decide, record: one attempt of a run that was claimed."""
    began = asyncio.get_running_loop().time()
    log_about(lease.run.log_fields)
    span = _begin_span(lease.run)
    _announce_start(room, lease.run)
    ending: Ending | None = None
    try:
        try:
            attempt = await _load(room, lease)
            ending = await _perform(attempt)
            if ending is not None:
                ending = await _record(attempt, ending)
        except LeaseLost as error:
            note_lost(lease.run, str(error))
            ending = None
        except Exception as error:  # also from describing, logging or writing an error: the attempt leaves a trace
            ending = await write_plainly(room, lease, error)
        if ending is not None:
            announce(room, lease, ending, asyncio.get_running_loop().time() - began)
    finally:  # after the last line of the log, which names the span
        if span is not None:
            _end_span(span, lease.run, ending, asyncio.get_running_loop().time() - began)


def _begin_span(run: ClaimedRun) -> "ActiveSpan | None":
    spans = active()
    if spans is None:
        return None
    fields: dict[str, str | int] = {
        "penstock.run_id": str(run.id),
        "penstock.chain_id": str(run.chain_id),
        "penstock.workflow": run.workflow,
        "penstock.environment": run.environment,
        "penstock.depth": run.depth,
        "penstock.attempt": run.attempt,
    }
    return spans.begin_run(run.identity, run.workflow, fields, run.scheduled_at, run.claimed_at)


def _end_span(span: "ActiveSpan", run: ClaimedRun, ending: Ending | None, seconds: float) -> None:
    """On the database's clock, as it began. Without an ending the run is no longer ours."""
    state = "lost" if ending is None else ending.state.value
    span.note({"penstock.state": state})
    if ending is None or ending.is_failure:
        error = None if ending is None else ending.error
        span.fail(str(error["kind"]) if isinstance(error, dict) else state)
    span.end(run.claimed_at + timedelta(seconds=seconds))


async def _load(room: Room, lease: Lease) -> Attempt:
    """The run with the definition it starts, or has started, with.

    Raises Permanent when that version has no such workflow, Transient when it cannot be read here (another executor may
    be newer), LeaseLost when the database stays away for longer than the lease holds.
    """
    run = lease.run
    try:
        plans = await outlast(lease, lambda: room.library.find_plans(run.environment, run.version))
        attempt = Attempt(room, lease, plans)
    except LeaseLost:
        raise
    except KeyError:
        raise Permanent(
            f"deployment {run.version} of {run.environment} has no workflow {run.workflow!r}: it was removed "
            "before the run began",
            kind="unknown_workflow",
        ) from None
    except Exception as error:
        raise Transient(
            f"this executor cannot read deployment {run.version} of {run.environment}: "
            f"{type(error).__name__}: {describe(error)}",
            kind="internal",
        ) from error
    if plans.app.python:
        attempt.code = AppCode(attempt)
    return attempt


async def _perform(attempt: Attempt) -> Ending | None:
    """Perform steps and decide how the attempt ends; None when the run is no longer ours."""
    try:
        return await attempt.perform()
    except Exception as error:
        return conclude(attempt, error)


async def _record(attempt: Attempt, ending: Ending) -> Ending | None:
    """Write how the attempt ends; None when the run is no longer ours."""
    # What is left is to write it down: meanwhile another run may be claimed and performed.
    room = attempt.room
    if room.leases.count - room.slots.taken < MAX_UNWRITTEN:
        room.give_back_slot(attempt.lease)
    written = await write(attempt, ending)
    if written is not None and attempt.plan.definition.flow is not None:
        room.free_turns(attempt.run.environment)
    return written


def _announce_start(room: Room, run: ClaimedRun) -> None:
    room.publisher.run_event("started", run.summarize(RunState.RUNNING))
    if run.attempt == 1:
        START_LATENESS_SECONDS.observe(max(0.0, (run.claimed_at - run.scheduled_at).total_seconds()))


async def note_cancelled(room: Room, delivery: Delivery) -> None:
    """Stop runs that were cancelled, if they are performed here. Best effort: the next renewal notices it too."""
    message = delivery.message
    try:
        many = message.type == RunEvents.TYPE
        for event in RunEvents.decode(message.body).events if many else (RunEvent.decode(message.body),):
            room.leases.cancel(event.id)
    except DecodeError as error:
        log.warning("message.ignored", reason=error.reason)


async def note_dead_letter(room: Room, message: Message, routing_key: str) -> None:
    """A message of our queue was put into the dead letters: people are notified."""
    await notify_of_dead_letter(room.database, executor_queue(), message, routing_key)


Handle = Callable[[Room, Delivery], Awaitable[None]]
HANDLERS: Final[Mapping[str, Handle]] = {ExecuteRuns.TYPE: execute_runs}
"""By the message's type."""
