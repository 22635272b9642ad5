"""Requests that services have written with `penstock.schedule(…)` in transactions of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from penstock.db import Connection


@dataclass(frozen=True, slots=True)
class InboxRequest:
    """A row of the inbox, as it was asked for."""

    id: int
    environment: str
    workflow: str
    parameters: dict[str, JsonValue]
    at: datetime | None
    key: str | None
    depth: int
    asked_at: datetime


async def take_inbox(conn: Connection, *, most: int, only: Sequence[int] | None = None) -> list[InboxRequest]:
    """Take requests (or `only` those of them) out of the inbox, oldest first; skips what another scheduler holds."""
    rows = await conn.fetch(
        """
        WITH held AS MATERIALIZED (
            SELECT i.id FROM penstock.inbox i
            WHERE $2::bigint[] IS NULL OR i.id = ANY($2)
            ORDER BY i.id LIMIT $1 FOR UPDATE SKIP LOCKED
        ), taken AS (
            DELETE FROM penstock.inbox i USING held WHERE i.id = held.id RETURNING i.*
        )
        SELECT t.id, t.environment, t.workflow, t.parameters, t.key, t.depth, t.asked_at,
               -- A time before the year 1, which is long over, cannot be read.
               CASE WHEN t.at IS NOT NULL THEN greatest(t.at, '0001-01-02T00:00:00Z') END AS at
        FROM taken t ORDER BY t.id
        """,
        most,
        only,
    )
    return [InboxRequest(**row) for row in rows]


async def has_inbox(conn: Connection) -> bool:
    """Whether anything waits; a loop that looks twenty times a second asks this before it opens a transaction."""
    found: bool = await conn.fetchval("SELECT EXISTS (SELECT FROM penstock.inbox)")
    return found


async def list_inbox(conn: Connection, *, most: int) -> list[int]:
    """The requests that have waited longest, the oldest first; locks none."""
    rows = await conn.fetch("SELECT id FROM penstock.inbox ORDER BY id LIMIT $1", most)
    return [row["id"] for row in rows]
