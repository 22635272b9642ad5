"""The scheduler's verbs, one per message. A handler decides and commits; `receive` settles the message and answers.

A message is acknowledged after the commit of what it asked for, so one that is delivered again finds its runs made
already. One that is not understood goes to the dead letters with its reason; one that comes while PostgreSQL is away is
held back and requeued.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import orjson

from penstock import exact_json
from penstock.broker.port import Delivery
from penstock.contracts.envelope import Message
from penstock.contracts.messages import (
    CancelRun,
    CancelRuns,
    ExpandList,
    ScheduleChildren,
    ScheduleRun,
    SendSignal,
    ShowRun,
    WakeScheduler,
)
from penstock.contracts.topology import SCHEDULER_QUEUE
from penstock.domain.runs import Rejected
from penstock.errors import BrokerUnavailable, DatabaseUnavailable, DecodeError
from penstock.logs import get_logger
from penstock.metrics import DEAD_LETTERED
from penstock_scheduler.admitting.unnamed import forget, is_unnamed
from penstock_scheduler.handlers.children import schedule_children
from penstock_scheduler.handlers.interventions import cancel_run, cancel_runs_of_key, send_signal, show_run
from penstock_scheduler.handlers.messages import schedule_run
from penstock_scheduler.room import Room
from penstock_scheduler.rules import describe_problem
from penstock_scheduler.runs import Denied, Refused

log = get_logger(__name__)

MAX_MESSAGES: Final = 500
"""Messages handled at a time."""
PROBLEM_TYPE: Final = "application/problem+json"


async def receive(room: Room, delivery: Delivery) -> None:
    """Handle one message and settle it."""
    message = delivery.message
    try:
        handle = HANDLERS.get(message.type or ScheduleRun.TYPE)
        if handle is None:
            raise DecodeError(
                f"type: {message.type!r} is not a message for schedulers; leave it out, or write {ScheduleRun.TYPE}"
            )
        reply = await handle(room, message)
    except DecodeError as error:
        await _refuse(room, delivery, error)
    except Denied as error:
        _reply_with_problem(room, message, error.rejection)
        await delivery.ack()
    except (DatabaseUnavailable, BrokerUnavailable) as error:
        log.warning(
            "database.unavailable" if isinstance(error, DatabaseUnavailable) else "broker.unreachable", error=str(error)
        )
        await room.database.wait_until_ready(room.stop.soft.is_set)
        await delivery.requeue()
    else:
        if reply is not None and message.reply_to:
            body = exact_json.dumps(reply, option=orjson.OPT_UTC_Z)
            room.publisher.reply(message.reply_to, message.correlation_id, body)
        if not is_unnamed(message):
            await delivery.ack()
        elif await delivery.ack_and_confirm():
            await forget(room.database, message)


async def expand_list(room: Room, message: Message) -> None:
    """A list awaits expansion; the loop that expands them all is woken."""
    ExpandList.decode(message.body)
    room.nudges.feed.set()
    room.nudges.expand.set()
    room.nudges.sequential.set()


async def wake_scheduler(room: Room, message: Message) -> None:
    """Have the loops woken that have something to do, perhaps sooner than they know: a run, a tick or a turn is due, a
    wait is over, an awaited run has ended, a pause was lifted, or an operation has begun.
    """
    asked = WakeScheduler.decode(message.body)
    if asked.is_turn:
        room.nudges.turns.set()
    else:
        room.nudges.look.set()


async def _refuse(room: Room, delivery: Delivery, error: DecodeError) -> None:
    message = delivery.message
    DEAD_LETTERED.labels(SCHEDULER_QUEUE).inc()
    log.warning("message.dead_lettered", queue=SCHEDULER_QUEUE, message_id=message.message_id, reason=error.reason)
    rejection = error.rejection if isinstance(error, Refused) else Rejected("malformed", error.reason)
    _reply_with_problem(room, message, rejection)
    await delivery.dead_letter(error.reason)


def _reply_with_problem(room: Room, message: Message, rejection: Rejected) -> None:
    if message.reply_to:
        room.publisher.reply(
            message.reply_to, message.correlation_id, exact_json.dumps(describe_problem(rejection)), PROBLEM_TYPE
        )


Handle = Callable[[Room, Message], Awaitable[Mapping[str, object] | None]]
HANDLERS: Final[Mapping[str, Handle]] = {
    ScheduleRun.TYPE: schedule_run,
    ScheduleChildren.TYPE: schedule_children,
    ExpandList.TYPE: expand_list,
    WakeScheduler.TYPE: wake_scheduler,
    ShowRun.TYPE: show_run,
    CancelRun.TYPE: cancel_run,
    CancelRuns.TYPE: cancel_runs_of_key,
    SendSignal.TYPE: send_signal,
}
"""By the message's type; none means ScheduleRun."""
