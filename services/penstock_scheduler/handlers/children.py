"""Runs that steps have scheduled, one batch per executor. A child that is refused never holds up its siblings."""

from typing import Final

from penstock.broker.dead_letters import Origin, park
from penstock.contracts.envelope import Message
from penstock.contracts.messages import ChildRun, ScheduleChildren
from penstock.contracts.topology import DEAD_LETTER_EXCHANGE, SCHEDULE_EXCHANGE, SCHEDULER_QUEUE, schedule_routing_key
from penstock.domain.ids import child_run_id
from penstock.domain.lineage import Lineage
from penstock.domain.runs import Rejected
from penstock.domain.states import Trigger
from penstock.errors import DecodeError
from penstock.logs import get_logger
from penstock.metrics import DEAD_LETTERED
from penstock.runs.requests import RunRequest
from penstock.store.logs import Subject, error_line, write_logs
from penstock_scheduler import rules
from penstock_scheduler.room import Room

log = get_logger(__name__)

_UNSTORABLE: Final = "unstorable"
_MAX_MESSAGE_ID: Final = 255
"""AMQP's longest short string, in bytes; a step's path is ASCII, and can be longer."""


async def schedule_children(room: Room, message: Message) -> None:
    """Admit the batch. Each id derives from parent and step, so a batch that comes twice makes no second run."""
    batch = ScheduleChildren.decode(message.body)
    environment, depth = rules.check_environment(batch.environment), rules.read_depth(message.headers)
    wanted = [_want(child, environment, depth) for child in batch.runs]
    for child, outcome in zip(batch.runs, await room.admissions.try_to_admit(wanted), strict=True):
        if isinstance(outcome, DecodeError):
            await _park(room, message, batch.environment, child, Rejected(_UNSTORABLE, outcome.reason))
        elif isinstance(outcome, Rejected):
            await _park(room, message, batch.environment, child, outcome)


def _want(child: ChildRun, environment: str, depth: int) -> RunRequest:
    return RunRequest(
        run_id=child.run_id or child_run_id(child.parent_run_id, child.key),
        environment=environment,
        workflow=child.workflow,
        parameters=child.parameters,
        trigger=Trigger.RUN,
        lineage=Lineage(depth, None, child.parent_run_id),
        scheduled_at=child.scheduled_at,
        priority=child.priority,
    )


async def _park(room: Room, message: Message, environment: str, child: ChildRun, rejected: Rejected) -> None:
    """Log a Workflow error of the parent, and dead-letter the one child as a message that can be sent again."""
    reason = f"Workflow error: {child.workflow} could not be scheduled: {rejected.message}"
    DEAD_LETTERED.labels(SCHEDULER_QUEUE).inc()
    log.warning("message.dead_lettered", queue=SCHEDULER_QUEUE, parent_run_id=str(child.parent_run_id), reason=reason)
    alone = Message(
        body=ScheduleChildren.model_construct(environment=environment, runs=[child]).encode(),
        type=ScheduleChildren.TYPE,
        message_id=f"{child.parent_run_id}/{child.key}"[:_MAX_MESSAGE_ID],
        headers=message.headers,
    )
    routing_key = schedule_routing_key(environment, child.workflow)
    parked = park(alone, reason=reason, origin=Origin(SCHEDULER_QUEUE, SCHEDULE_EXCHANGE, routing_key))
    await room.broker.publish(DEAD_LETTER_EXCHANGE, routing_key, parked)
    async with room.database.connection() as conn:
        await write_logs(
            conn,
            [
                error_line(
                    Subject(environment, child.workflow, child.parent_run_id, step=child.key),
                    reason,
                    {"kind": rejected.code},
                )
            ],
        )  # fmt: skip
