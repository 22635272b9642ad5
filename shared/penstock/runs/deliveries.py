"""Deliveries: one row per webhook request that was let in, however often it is sent. `admit_deliveries` stores them
with their runs.

Copies share a key, and where the key is an id that the signature does not cover, what is signed is a second one. Keys
stand in a table of their own, with how long they are taken: deliveries are divided by day, and a key may hold for
longer than its delivery is kept. When its time is over, the next request with it is a new delivery.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from penstock.db import Connection
from penstock.domain.deliveries import DeliveryVerdict
from penstock.webhooks.sources import ID_LIFETIME

DeliveryKey = tuple[str, str, str]
"""Environment, source, and what the copies of a delivery have in common."""


class NewDelivery(NamedTuple):
    """A webhook request to be stored. `version` is the deployment that said which workflows want it; without any it is
    unmatched. `origin_id` is the delivery that it replays; nothing is a copy of a replay, so it has no keys.
    """

    id: UUID
    environment: str
    source: str
    dedup_key: str | None
    type: str | None
    version: int
    run_ids: tuple[UUID, ...]
    headers: Mapping[str, str]
    body: bytes
    verdict: DeliveryVerdict | None = "genuine"
    origin_id: UUID | None = None
    signature_key: str | None = None
    unique_seconds: float = ID_LIFETIME.total_seconds()

    @property
    def key(self) -> DeliveryKey:
        """What is unique."""
        return self.environment, self.source, self.dedup_key or str(self.id)


class StoredDelivery(NamedTuple):
    """The delivery that stands for a key."""

    id: UUID
    run_ids: tuple[UUID, ...]


async def count_duplicates(conn: Connection, *, copies: Sequence[NewDelivery]) -> dict[UUID, StoredDelivery]:
    """Count further copies of deliveries that are known, and return those by the ids of their copies; leaves out those
    whose time is over. A statement of its own, to see what others just stored.
    """
    rows = await conn.fetch(
        """
        WITH copy AS (
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
                AS q (id, environment, source, dedup_key, signature_key)
        ), found AS MATERIALIZED (
            SELECT q.id AS copy_id, k.delivery_id, k.run_ids, k.received_at
            FROM copy q JOIN penstock.delivery_keys k USING (environment, source, dedup_key)
            WHERE k.unique_until > clock_timestamp()
            UNION
            SELECT q.id, k.delivery_id, k.run_ids, k.received_at
            FROM copy q JOIN penstock.delivery_keys k USING (environment, source, signature_key)
            WHERE k.unique_until > clock_timestamp()
        ), counted AS (
            -- One that is not kept any more is still known, but not counted.
            UPDATE penstock.deliveries d SET duplicates = d.duplicates + f.copies
            FROM (
                SELECT delivery_id, received_at, count(*) AS copies FROM found
                GROUP BY delivery_id, received_at ORDER BY delivery_id
            ) f
            WHERE d.id = f.delivery_id AND d.received_at = f.received_at
        )
        SELECT copy_id, delivery_id, run_ids FROM found ORDER BY delivery_id
        """,
        *_columns(copies),
    )
    return {row["copy_id"]: StoredDelivery(row["delivery_id"], tuple(row["run_ids"])) for row in rows}


async def free_keys(conn: Connection, *, copies: Sequence[NewDelivery]) -> None:
    """Take the keys of `copies` from the deliveries that have them, where their time is over."""
    await conn.execute(
        """
        WITH copy AS (
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
                AS q (id, environment, source, dedup_key, signature_key)
        )
        DELETE FROM penstock.delivery_keys
        WHERE unique_until <= clock_timestamp() AND delivery_id = ANY(ARRAY(
            SELECT k.delivery_id FROM copy q JOIN penstock.delivery_keys k USING (environment, source, dedup_key)
            UNION
            SELECT k.delivery_id FROM copy q JOIN penstock.delivery_keys k USING (environment, source, signature_key)
        ))
        """,
        *_columns(copies),
    )


def _columns(copies: Sequence[NewDelivery]) -> tuple[list[object], ...]:
    ordered = sorted(copies, key=lambda copy: copy.key)
    return (
        [copy.id for copy in ordered],
        [copy.environment for copy in ordered],
        [copy.source for copy in ordered],
        [copy.dedup_key for copy in ordered],
        [copy.signature_key for copy in ordered],
    )
