"""Messages from the queue of the dead letters are kept as rows, and people are notified; `penstock.runs.dead_letters`
has the whole story.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Final
from uuid import UUID, uuid4, uuid5

from pydantic import JsonValue

from penstock.broker.dead_letters import DEATH, ORIGINAL_EXCHANGE, ORIGINAL_QUEUE, ORIGINAL_ROUTING_KEY, Origin
from penstock.broker.port import Delivery
from penstock.contracts import envelope
from penstock.contracts.envelope import UNNAMED_AGAIN, Message
from penstock.contracts.topology import (
    DEAD_LETTER_QUEUE,
    EXECUTE_EXCHANGE,
    SCHEDULE_EXCHANGE,
    SCHEDULER_QUEUE,
    executor_queue,
    topology,
)
from penstock.db import Connection
from penstock.definitions.models import ENVIRONMENTS
from penstock.domain.credentials import REDACTED, carries_credentials
from penstock.domain.notices import NoticeKind
from penstock.errors import DatabaseUnavailable
from penstock.logs import get_logger
from penstock.metrics import DEAD_LETTERED
from penstock.runs.dead_letters import LETTER_HEADER, DeadMessage, store_message
from penstock.storable import storable_text
from penstock.store.notices import Notice, request_notices
from penstock_scheduler.room import Room

log = get_logger(__name__)

MAX_LETTERS: Final = 4
"""Handled at a time: each may be large."""
_NAMES: Final = UUID("5f6e1c1a-2f43-4c5e-9d0b-8a53f2e1d7c4")
"""The namespace of ids that derive from the name of an event (RFC 9562)."""
_DEATHS: Final = "x-death"
"""RabbitMQ's own record of a dead letter, https://www.rabbitmq.com/docs/dlx."""
_OURS: Final = frozenset(
    {DEATH, ORIGINAL_QUEUE, ORIGINAL_EXCHANGE, ORIGINAL_ROUTING_KEY, envelope.REASON, LETTER_HEADER}
)
_RABBITMQS: Final = (_DEATHS, "x-first-death", "x-last-death", "x-delivery-count", "x-acquired-count")
_MAX_TEXT: Final = 1000
_MAX_HEADERS: Final = 50
_PAUSE_SECONDS: Final = 1.0
_CAUSES: Final = {
    "delivery_limit": "it was delivered too often without being acknowledged",
    "rejected": "it was rejected",
    "expired": "its time to live was over",
    "maxlen": "the queue was full",
}


async def keep_dead_letter(room: Room, delivery: Delivery) -> None:
    """Keep a message as a dead letter and acknowledge it. One that cannot be kept now is kept later."""
    message, is_known_to_be_ours = delivery.message, DEATH in delivery.message.headers
    try:
        letter = read_letter(message, Origin(DEAD_LETTER_QUEUE, delivery.exchange, delivery.routing_key))
        is_new = await room.database.in_transaction(partial(keep_letter, letter=letter))
    except DatabaseUnavailable as error:
        log.warning("database.unavailable", error=str(error))
        await room.database.wait_until_ready(room.stop.soft.is_set)
        await delivery.requeue()
        return
    except Exception as error:  # it must neither be lost nor delivered again and again without a pause
        log.error("dead_letter.not_kept", error=f"{type(error).__name__}: {error}", exc_info=error)
        await asyncio.sleep(_PAUSE_SECONDS)
        await delivery.requeue()
        return
    if is_new and not is_known_to_be_ours:
        queue = letter.queue or DEAD_LETTER_QUEUE
        DEAD_LETTERED.labels(queue).inc()
        log.warning("message.dead_lettered", queue=queue, message_id=message.message_id, reason=letter.reason)
    await delivery.ack()


async def keep_letter(conn: Connection, letter: DeadMessage) -> bool:
    """Keep it and have people notified; False when this very event is known. To be called in a transaction."""
    if not await store_message(conn, letter):
        return False
    # The reason is not repeated, since it may quote the message.
    where = f"the queue {letter.queue}" if letter.queue else "an unknown queue"
    what = (
        f"a message of {where} that could not be understood, admitted or handled is kept as the dead letter "
        f"{letter.id}, which says why"
    )
    await request_notices(conn, [Notice(letter.environment, NoticeKind.DEAD_LETTERS, {"message": what})])
    return True


def read_letter(message: Message, found: Origin) -> DeadMessage:
    """What is kept of a message that was `found` in the queue of the dead letters. Never raises."""
    origin, reason = _read_origin(message.headers, found)
    queue = _find_queue(origin)
    event = message.headers.get(DEATH)
    death = event if isinstance(event, str) and event else _name_event(message, found)
    named = (message.headers.get(envelope.ENVIRONMENT), origin.routing_key.partition(".")[0])
    return DeadMessage(
        id=uuid5(_NAMES, death),
        letter_id=_read_id(message.headers.get(LETTER_HEADER)),
        death=_text(death),
        environment=next((str(name) for name in named if name in ENVIRONMENTS), ENVIRONMENTS[-1]),
        reason=_text(reason),
        queue=queue,
        exchange=_text(origin.exchange),
        routing_key=_text(origin.routing_key),
        properties={
            "type": _text(message.type),
            "message_id": _text(message.message_id),
            "correlation_id": None if message.correlation_id is None else _text(message.correlation_id),
            "reply_to": None if message.reply_to is None else _text(message.reply_to),
            "content_type": _text(message.content_type),
            "headers": _plain_headers(message.headers),
        },
        body=message.body,
    )


def _read_origin(headers: Mapping[str, object], found: Origin) -> tuple[Origin, str]:
    """Where it came from, and why it is among the dead letters."""
    reason = headers.get(envelope.REASON)
    if DEATH in headers or ORIGINAL_ROUTING_KEY in headers:
        exchange, routing_key = (str(headers.get(name, "")) for name in (ORIGINAL_EXCHANGE, ORIGINAL_ROUTING_KEY))
        return Origin(str(headers.get(ORIGINAL_QUEUE, "")), exchange, routing_key), str(reason or "no reason was given")
    deaths = headers.get(_DEATHS)
    if isinstance(deaths, list) and deaths and isinstance(first := deaths[0], dict):
        keys = first.get("routing-keys")
        routing_key = str(keys[0]) if isinstance(keys, list) and keys else found.routing_key
        cause = str(first.get("reason", "unknown"))
        why = f"RabbitMQ dead-lettered it: {_CAUSES.get(cause, cause)} ({first.get('count', 1)} times)"
        return Origin(str(first.get("queue", "")), str(first.get("exchange", "")), routing_key), why
    return found, str(reason or f"somebody has published it to {found.exchange or DEAD_LETTER_QUEUE}")


def _find_queue(origin: Origin) -> str | None:
    """The queue of ours that it came from; None when that is not known. Earlier releases did not note it."""
    if origin.queue == DEAD_LETTER_QUEUE:
        return None
    if any(origin.queue == queue.name for queue in topology().queues):
        return origin.queue
    if origin.queue or origin.exchange not in (SCHEDULE_EXCHANGE, EXECUTE_EXCHANGE):
        return None
    return SCHEDULER_QUEUE if origin.exchange == SCHEDULE_EXCHANGE else executor_queue()


def _name_event(message: Message, found: Origin) -> str:
    """A name for what RabbitMQ, or somebody else, has dead-lettered: the same when it is delivered again.

    Of messages without an id that have the same content, each is another one, unless it is delivered again.
    """
    is_named = bool(message.message_id) and not message.message_id.startswith(envelope.UNNAMED)
    if not is_named and not message.message_id.startswith(UNNAMED_AGAIN):
        return uuid4().hex
    content = json.dumps(
        [message.type, message.message_id if is_named else "", found.routing_key, message.headers.get(_DEATHS)],
        default=str,
    )
    return hashlib.sha256(content.encode("utf-8", "replace") + message.body).hexdigest()


def _plain_headers(headers: Mapping[str, object]) -> dict[str, JsonValue]:
    """Those that are kept: plain values, no credentials."""
    kept: dict[str, JsonValue] = {}
    for name, value in headers.items():
        if name in _OURS or name.startswith(_RABBITMQS) or len(kept) >= _MAX_HEADERS:
            continue
        if isinstance(value, bytes | bytearray):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str):
            value = REDACTED if carries_credentials(name.lower()) else _text(value)
        if value is None or isinstance(value, str | bool) or (isinstance(value, int) and abs(value) < 2**63):
            kept[_text(name)] = value
    return kept


def _text(text: str) -> str:
    return storable_text(text)[:_MAX_TEXT]


def _read_id(value: object) -> UUID | None:
    with suppress(ValueError):
        return UUID(value) if isinstance(value, str) else None
    return None
