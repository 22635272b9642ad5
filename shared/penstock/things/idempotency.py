"""Idempotency keys of writes of things: a write and its key commit together, so it is done once however often it is
asked for (the Idempotency-Key draft of the IETF).
"""

import hashlib
from datetime import timedelta
from typing import NamedTuple

from penstock.db import Connection
from penstock.errors import Permanent


class WriteKey(NamedTuple):
    """The key of a request: who sent it, and the digest of what it asks for."""

    environment: str
    caller: str
    key: str
    fingerprint: bytes


class Answered(NamedTuple):
    """How a request with the same key was answered: the status, and the thing that it made, or the body where that is
    about many.
    """

    status: int
    thing_id: str | None
    body: bytes | None = None


class KeyReused(Permanent):
    """The key belongs to a request that asked for something else."""


def fingerprint_of(*parts: bytes) -> bytes:
    """The digest of what a request asks for."""
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).digest()


async def claim_key(conn: Connection, *, key: WriteKey, status: int, thing_id: str | None) -> Answered | None:
    """Bind the key to what this transaction is about to do; or how an earlier request was answered, for which it waits.

    Raises KeyReused.
    """
    claimed = await conn.fetchval(
        """
        INSERT INTO penstock.thing_keys (environment, caller, key, fingerprint, status, thing_id)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT DO NOTHING
        RETURNING true
        """,
        *key,
        status,
        thing_id,
    )
    if claimed:
        return None
    row = await conn.fetchrow(
        """
        SELECT fingerprint, status, thing_id, body FROM penstock.thing_keys
        WHERE environment = $1 AND caller = $2 AND key = $3
        """,
        *key[:3],
    )
    if row is None or row["fingerprint"] != key.fingerprint:
        raise KeyReused("the Idempotency-Key belongs to another request; use a new one", kind="key_reused")
    return Answered(row["status"], row["thing_id"], row["body"])


async def note_answer(conn: Connection, *, key: WriteKey, answered: Answered) -> None:
    """What became of the request after all, such as another thing that an upsert has changed."""
    await conn.execute(
        """
        UPDATE penstock.thing_keys SET status = $4, thing_id = $5, body = $6
        WHERE environment = $1 AND caller = $2 AND key = $3
        """,
        *key[:3],
        *answered,
    )


async def delete_old_keys(conn: Connection, *, older_than: timedelta, most: int) -> int:
    """Forget keys, at most `most`; returns how many."""
    status = await conn.execute(
        """
        DELETE FROM penstock.thing_keys k
        USING (
            SELECT environment, caller, key FROM penstock.thing_keys
            WHERE created_at < statement_timestamp() - $1::interval
            ORDER BY created_at
            LIMIT $2
        ) old
        WHERE (k.environment, k.caller, k.key) = (old.environment, old.caller, old.key)
        """,
        older_than,
        most,
    )
    return int(status.split()[-1])
