"""Deliveries: one row per webhook request that was let in, however often it is sent. `admit_deliveries` stores them
with their runs.

Copies share a key, and where the key is an id that the signature does not cover, what is signed is a second one. Each
delivery says how long its keys are taken. When that is over, it keeps everything but its keys, and the next request
with them is a new delivery.
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
    """Count further copies of deliveries that are stored, and return those by the ids of their copies; leaves out those
    whose time is over. A statement of its own, to see what others just stored.
    """
    rows = await conn.fetch(
        """
        WITH copy AS (
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
                AS q (id, environment, source, dedup_key, signature_key)
        ), found AS (
            SELECT q.id AS copy_id, d.id FROM copy q JOIN penstock.deliveries d USING (environment, source, dedup_key)
            WHERE coalesce(d.unique_until, d.received_at + $6) > clock_timestamp()
            UNION
            SELECT q.id, d.id FROM copy q JOIN penstock.deliveries d USING (environment, source, signature_key)
            WHERE coalesce(d.unique_until, d.received_at + $6) > clock_timestamp()
        ), counted AS (
            UPDATE penstock.deliveries d SET duplicates = d.duplicates + f.copies
            FROM (SELECT id, count(*) AS copies FROM found GROUP BY id ORDER BY id) f
            WHERE d.id = f.id
            RETURNING d.id, d.run_ids
        )
        SELECT f.copy_id, c.id, c.run_ids FROM found f JOIN counted c USING (id) ORDER BY c.id
        """,
        *_columns(copies),
        ID_LIFETIME,
    )
    return {row["copy_id"]: StoredDelivery(row["id"], tuple(row["run_ids"])) for row in rows}


async def free_keys(conn: Connection, *, copies: Sequence[NewDelivery]) -> None:
    """Take the keys of `copies` from the deliveries that have them, where their time is over."""
    await conn.execute(
        """
        WITH copy AS (
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
                AS q (id, environment, source, dedup_key, signature_key)
        ), found AS (
            SELECT d.id FROM copy q JOIN penstock.deliveries d USING (environment, source, dedup_key)
            UNION
            SELECT d.id FROM copy q JOIN penstock.deliveries d USING (environment, source, signature_key)
        )
        UPDATE penstock.deliveries d SET dedup_key = NULL, signature_key = NULL
        FROM found f
        WHERE d.id = f.id AND coalesce(d.unique_until, d.received_at + $6) <= clock_timestamp()
        """,
        *_columns(copies),
        ID_LIFETIME,
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
