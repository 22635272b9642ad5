"""SQL of deliveries: one row per webhook request that was let in, however often it is sent."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import orjson

from penstock.db import Connection

DeliveryKey = tuple[str, str, str]
"""Environment, source, and what the copies of a delivery have in common."""


class NewDelivery(NamedTuple):
    """A webhook request to be stored. `version` is the deployment that said which workflows want it; without any it is unmatched."""

    id: UUID
    environment: str
    source: str
    dedup_key: str
    type: str | None
    version: int
    run_ids: tuple[UUID, ...]
    headers: Mapping[str, str]
    body: bytes

    @property
    def key(self) -> DeliveryKey:
        """What is unique."""
        return self.environment, self.source, self.dedup_key


class StoredDelivery(NamedTuple):
    """The delivery that stands for a key."""

    id: UUID
    run_ids: tuple[UUID, ...]


async def insert_deliveries(conn: Connection, *, deliveries: Sequence[NewDelivery]) -> set[UUID]:
    """Store deliveries; returns those whose key is new. Waits for others who store the same key, so give them in one order."""
    rows = await conn.fetch(
        """
        INSERT INTO penstock.deliveries (id, environment, source, dedup_key, type, state, run_ids, headers, body)
        SELECT q.id, q.environment, q.source, q.dedup_key, q.type, CASE q.run_ids WHEN '{}' THEN 'unmatched' ELSE 'accepted' END,
               q.run_ids::uuid[], q.headers::jsonb, q.body
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[])
             AS q (id, environment, source, dedup_key, type, run_ids, headers, body)
        ON CONFLICT (environment, source, dedup_key) DO NOTHING
        RETURNING id
        """,
        [delivery.id for delivery in deliveries],
        [delivery.environment for delivery in deliveries],
        [delivery.source for delivery in deliveries],
        [delivery.dedup_key for delivery in deliveries],
        [delivery.type for delivery in deliveries],
        [f"{{{','.join(map(str, delivery.run_ids))}}}" for delivery in deliveries],
        [orjson.dumps(delivery.headers).decode() for delivery in deliveries],
        [delivery.body for delivery in deliveries],
    )
    return {row["id"] for row in rows}


async def count_duplicates(conn: Connection, *, copies: Mapping[DeliveryKey, int]) -> dict[DeliveryKey, StoredDelivery]:
    """Count further copies of deliveries that are stored, and return those. A statement of its own, to see what others just stored."""
    keys = sorted(copies)
    rows = await conn.fetch(
        """
        UPDATE penstock.deliveries d SET duplicates = d.duplicates + q.copies
        FROM unnest($1::text[], $2::text[], $3::text[], $4::int[]) AS q (environment, source, dedup_key, copies)
        WHERE d.environment = q.environment AND d.source = q.source AND d.dedup_key = q.dedup_key
        RETURNING d.environment, d.source, d.dedup_key, d.id, d.run_ids
        """,
        [environment for environment, _, _ in keys],
        [source for _, source, _ in keys],
        [dedup_key for _, _, dedup_key in keys],
        [copies[key] for key in keys],
    )
    return {(row["environment"], row["source"], row["dedup_key"]): StoredDelivery(row["id"], tuple(row["run_ids"])) for row in rows}


async def get_deployed_versions(conn: Connection) -> dict[str, int]:
    """The current deployment of each environment."""
    rows = await conn.fetch("SELECT name, deployment_version FROM penstock.environments")
    return {row["name"]: row["deployment_version"] for row in rows}
