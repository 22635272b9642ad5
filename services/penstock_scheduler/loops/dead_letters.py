"""Messages that somebody has retried are published again, to the queue that they came from."""

import asyncio
from typing import Final

from penstock.contracts.envelope import UNNAMED, UNNAMED_AGAIN, Message
from penstock.errors import BrokerUnavailable
from penstock.logs import get_logger
from penstock.runs.dead_letters import LETTER_HEADER, Unpublished, note_published, take_unpublished
from penstock.runtime import Counts
from penstock_scheduler.room import Room

log = get_logger(__name__)

_AT_ONCE: Final = 8
"""Each may be large."""


async def publish_retried(room: Room) -> Counts:
    """Publish those that wait for it, a few at a time; continues at once while there are more."""
    async with room.database.connection() as conn:
        taken = await take_unpublished(conn, most=_AT_ONCE)
    published = sum(await asyncio.gather(*(_publish(room, message) for message in taken)))
    return Counts({"published": published}, 0.0 if len(taken) == _AT_ONCE else None)


async def _publish(room: Room, retried: Unpublished) -> bool:
    """Whether the broker has it. One that it has not is published again in half a minute."""
    try:
        await room.broker.publish("", retried.queue, _restore(retried))
    except BrokerUnavailable as error:
        log.warning("dead_letter.not_published", letter_id=str(retried.id), queue=retried.queue, error=str(error))
        return False
    async with room.database.connection() as conn:
        await note_published(conn, retried)
    return True


def _restore(retried: Unpublished) -> Message:
    """The message as it was. One that its sender has not named has a name now, so that it does its work once."""
    kept = retried.properties
    headers, id = kept.get("headers"), str(kept.get("message_id") or "")
    is_unnamed = not id or id.startswith((UNNAMED, UNNAMED_AGAIN))
    return Message(
        retried.body,
        type=str(kept.get("type") or ""),
        message_id=f"dead-letter:{retried.id}" if is_unnamed else id,
        correlation_id=_text(kept.get("correlation_id")),
        reply_to=_text(kept.get("reply_to")),
        headers={**(headers if isinstance(headers, dict) else {}), LETTER_HEADER: str(retried.id)},
        content_type=str(kept.get("content_type") or ""),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
