"""SQL of notifications: notices that wait, what is held back, and what is to be sent by which way.

Each delivery is taken before it is sent, so that no crash and no race can send it twice.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection
from penstock.domain.notices import Channel
from penstock_scheduler.runs import Delivery


class Throttle(NamedTuple):
    """How long ago the last notification was (None: never), and what was held back since."""

    rested: timedelta | None
    held_back: int


class Taken(NamedTuple):
    """How many notices were taken, and what the first of them says."""

    times: int
    details: dict[str, JsonValue]


class Targets(NamedTuple):
    """Who is notified in an environment, and how often of which kind."""

    addresses: tuple[str, ...]
    webhooks: tuple[dict[str, JsonValue], ...]
    slack: tuple[str, ...]
    every: dict[str, str]


async def list_waiting(conn: Connection) -> list[tuple[str, str]]:
    """Environments and kinds of which notices wait, those first that began to wait first."""
    rows = await conn.fetch(
        "SELECT environment, kind FROM penstock.notices GROUP BY environment, kind ORDER BY min(id)"
    )
    return [(row["environment"], row["kind"]) for row in rows]


async def lock_throttle(conn: Connection, *, environment: str, kind: str) -> Throttle | None:
    """Hold a kind until the transaction ends; None while another scheduler does."""
    await conn.execute(
        "INSERT INTO penstock.notice_throttles (environment, kind) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        environment,
        kind,
    )
    row = await conn.fetchrow(
        """
        SELECT clock_timestamp() - last_at AS rested, held_back FROM penstock.notice_throttles
        WHERE environment = $1 AND kind = $2
        FOR UPDATE SKIP LOCKED
        """,
        environment,
        kind,
    )
    return None if row is None else Throttle(row["rested"], row["held_back"])


async def take_notices(conn: Connection, *, environment: str, kind: str, most: int) -> Taken | None:
    """Take the oldest notices of a kind, whose throttle is locked; None when there are none."""
    row = await conn.fetchrow(
        """
        WITH taken AS (
            DELETE FROM penstock.notices n
            USING (
                SELECT id FROM penstock.notices WHERE environment = $1 AND kind = $2 ORDER BY id LIMIT $3
            ) oldest
            WHERE n.id = oldest.id
            RETURNING n.id, n.count, n.details
        )
        SELECT sum(count)::bigint AS count, (SELECT t.details FROM taken t ORDER BY t.id LIMIT 1) AS details FROM taken
        """,
        environment,
        kind,
        most,
    )
    return None if row is None or row["count"] is None else Taken(row["count"], row["details"])


async def note_throttle(conn: Connection, *, environment: str, kind: str, held_back: int, is_sent: bool) -> None:
    """Keep what is held back now, and whether a notification is sent now."""
    await conn.execute(
        """
        UPDATE penstock.notice_throttles
        SET held_back = $3, last_at = CASE WHEN $4 THEN clock_timestamp() ELSE last_at END
        WHERE environment = $1 AND kind = $2
        """,
        environment,
        kind,
        held_back,
        is_sent,
    )


async def get_targets(conn: Connection, *, environment: str) -> Targets:
    """Who is to be notified now."""
    row = await conn.fetchrow(
        """
        SELECT notification_addresses, notification_webhooks, notification_slack, notification_every
        FROM penstock.environments
        WHERE name = $1
        """,
        environment,
    )
    assert row is not None, "both environments are made by a migration"
    return Targets(
        tuple(row["notification_addresses"]),
        tuple(row["notification_webhooks"]),
        tuple(row["notification_slack"]),
        row["notification_every"],
    )


async def add_deliveries(
    conn: Connection,
    *,
    environment: str,
    kind: str,
    content: dict[str, JsonValue],
    targets: Sequence[tuple[Channel, dict[str, JsonValue]]],
) -> None:
    """Have the same content sent by each of these ways."""
    await conn.executemany(
        """
        INSERT INTO penstock.notice_deliveries (environment, kind, channel, target, content)
        VALUES ($1, $2, $3, $4, $5)
        """,
        [(environment, kind, channel.value, target, content) for channel, target in targets],
    )


async def take_deliveries(conn: Connection, *, channel: Channel, most: int) -> list[Delivery]:
    """Take what is to be sent now by one way; no other scheduler will."""
    rows = await conn.fetch(
        """
        WITH due AS (
            SELECT id FROM penstock.notice_deliveries
            WHERE channel = $1 AND next_try_at <= clock_timestamp()
            ORDER BY next_try_at
            LIMIT $2
            FOR UPDATE SKIP LOCKED
        )
        UPDATE penstock.notice_deliveries d SET next_try_at = NULL, attempts = d.attempts + 1
        FROM due
        WHERE d.id = due.id AND d.next_try_at IS NOT NULL
        RETURNING d.id, d.environment, d.kind, d.channel, d.target, d.content, d.created_at, d.attempts
        """,
        channel.value,
        most,
    )
    return [Delivery(**{**row, "channel": Channel(row["channel"])}) for row in rows]


async def mark_sent(conn: Connection, *, id: UUID) -> None:
    """Note that the other side has it."""
    await conn.execute("UPDATE penstock.notice_deliveries SET sent_at = clock_timestamp() WHERE id = $1", id)


async def give_back(conn: Connection, *, id: UUID, after: timedelta) -> None:
    """Let it be tried again `after` from now."""
    await conn.execute(
        """
        UPDATE penstock.notice_deliveries SET next_try_at = clock_timestamp() + $2
        WHERE id = $1 AND sent_at IS NULL
        """,
        id,
        after,
    )


async def delete_old_deliveries(conn: Connection, *, older_than: timedelta, most: int) -> int:
    """Forget deliveries that were made, or given up, so long ago; returns how many."""
    status = await conn.execute(
        """
        DELETE FROM penstock.notice_deliveries
        WHERE id = ANY(ARRAY(
            SELECT id FROM penstock.notice_deliveries
            WHERE next_try_at IS NULL AND created_at < statement_timestamp() - $1::interval
            ORDER BY created_at
            LIMIT $2
        ))
        """,
        older_than,
        most,
    )
    return int(status.rpartition(" ")[2])
