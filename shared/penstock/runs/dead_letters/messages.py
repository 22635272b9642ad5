"""SQL: messages from the queue of the dead letters, and those that are to be published again."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection

LETTER_HEADER: Final = "dead-letter-id"
"""On a message that is published again: its letter, which is open again when the message comes back."""
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""Of a larger one the beginning is kept: then it cannot be published again. RabbitMQ 4 takes none that is larger."""
_LEASE: Final = timedelta(seconds=30)
"""How long one scheduler has time to publish a message, before another one tries."""


@dataclass(frozen=True, slots=True)
class DeadMessage:
    """A message that was dead-lettered. All texts are storable.

    `id` is that of a new letter, `letter_id` that of the letter which the message says it has, if any. `death` names
    the event. `properties` are type, message_id, correlation_id, reply_to, content_type and headers. `queue` is the one
    it came from; None: unknown, so that it cannot be published again.
    """

    id: UUID
    letter_id: UUID | None
    death: str
    environment: str
    reason: str
    queue: str | None
    exchange: str
    routing_key: str
    properties: dict[str, JsonValue]
    body: bytes


async def store_message(conn: Connection, message: DeadMessage) -> bool:
    """Keep a message as an open letter; False when this very event is known. To be called in a transaction."""
    if message.letter_id is not None:
        death: str | None = await conn.fetchval(
            "SELECT d.death FROM penstock.dead_letters d WHERE d.id = $1 AND d.kind = 'message'", message.letter_id
        )
        if death == message.death:
            return False
        # Only what was published again by us: the header could be anybody's.
        if death is not None and await _reopen(conn, message):
            return True
    stored: UUID | None = await conn.fetchval(
        """
        INSERT INTO penstock.dead_letters (
            id, environment, kind, reason, queue, exchange, routing_key, message, body, size, death, history)
        VALUES ($1, $2, 'message', $3, $4, $5, $6, $7, $8, $9, $10,
                jsonb_build_array(jsonb_build_object('at', clock_timestamp(), 'state', 'open', 'reason', $3::text)))
        ON CONFLICT (id) DO NOTHING
        RETURNING id
        """,
        message.id,
        message.environment,
        message.reason,
        message.queue,
        message.exchange,
        message.routing_key,
        message.properties,
        message.body[:MAX_BODY_BYTES],
        len(message.body),
        message.death,
    )
    return stored is not None


async def _reopen(conn: Connection, message: DeadMessage) -> bool:
    """Whether the letter of a message that has come back is open again: it has the same content, and was retried."""
    reopened: UUID | None = await conn.fetchval(
        """
        UPDATE penstock.dead_letters d
        SET state = 'open', reason = $3, times = d.times + 1, last_seen_at = clock_timestamp(), death = $4,
            publish_at = NULL, note = NULL, actor = NULL, acted_at = NULL,
            history = penstock.extend_history(d.history, jsonb_build_object(
                'at', clock_timestamp(), 'state', 'open', 'reason', $3::text))
        WHERE d.id = $1 AND d.state = 'retried' AND d.body = $2
        RETURNING d.id
        """,
        message.letter_id,
        message.body,
        message.reason,
        message.death,
    )
    return reopened is not None


@dataclass(frozen=True, slots=True)
class Unpublished:
    """A message that is to be published again. `until` is when somebody else may publish it."""

    id: UUID
    queue: str
    properties: dict[str, JsonValue]
    body: bytes
    until: datetime


async def take_unpublished(conn: Connection, *, most: int) -> list[Unpublished]:
    """Messages that are to be published now: nobody else takes them for 30 seconds."""
    rows = await conn.fetch(
        """
        UPDATE penstock.dead_letters d
        SET publish_at = clock_timestamp() + $2::interval
        WHERE d.id = ANY(ARRAY(
            SELECT n.id FROM penstock.dead_letters n
            WHERE n.publish_at <= statement_timestamp()
            ORDER BY n.publish_at
            LIMIT $1
            FOR UPDATE SKIP LOCKED
        ))
        RETURNING d.id, d.queue, d.message, d.body, d.publish_at
        """,
        most,
        _LEASE,
    )
    return [Unpublished(row["id"], row["queue"], row["message"], row["body"], row["publish_at"]) for row in rows]


async def note_published(conn: Connection, message: Unpublished) -> None:
    """The broker has confirmed it."""
    await conn.execute(
        """
        UPDATE penstock.dead_letters d SET publish_at = NULL, published_at = clock_timestamp()
        WHERE d.id = $1 AND d.publish_at = $2
        """,
        message.id,
        message.until,
    )


async def delete_old_messages(conn: Connection, *, environment: str, most: int) -> int:
    """Delete letters of messages that were last seen longer ago than the environment's retention; how many. Those of
    runs go with their runs.
    """
    status = await conn.execute(
        """
        DELETE FROM penstock.dead_letters
        WHERE id = ANY(ARRAY(
            SELECT d.id FROM penstock.dead_letters d
            WHERE d.kind = 'message' AND d.environment = $1
              AND d.last_seen_at < statement_timestamp()
                  - (SELECT e.retention::interval FROM penstock.environments e WHERE e.name = $1)
            ORDER BY d.last_seen_at
            LIMIT $2
        ))
        """,
        environment,
        most,
    )
    return int(status.split()[-1])
