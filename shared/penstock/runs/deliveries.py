"""Deliveries: one row per webhook request that was let in, however often it is sent. `admit_deliveries` stores them
with their runs.
"""

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from penstock.db import Connection

DeliveryKey = tuple[str, str, str]
"""Environment, source, and what the copies of a delivery have in common."""


class NewDelivery(NamedTuple):
    """A webhook request to be stored. `version` is the deployment that said which workflows want it; without any it is
    unmatched.
    """

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


async def count_duplicates(conn: Connection, *, copies: Mapping[DeliveryKey, int]) -> dict[DeliveryKey, StoredDelivery]:
    """Count further copies of deliveries that are stored, and return those. A statement of its own, to see what others
    just stored.
    """
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
    return {
        (row["environment"], row["source"], row["dedup_key"]): StoredDelivery(row["id"], tuple(row["run_ids"]))
        for row in rows
    }
