"""Idempotency keys: for as long as a key lives, the same request never makes a second run."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol
from uuid import UUID

from penstock.db import Connection, Record
from penstock.domain.runs import Admission, Duplicate, Rejected
from penstock.encryption import Keyring
from penstock.errors import Permanent

KEY_LIFETIME: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A caller's key within its `scope` (who calls what), and a hash of the request, which must be the same each
    time.
    """

    scope: str
    key: str
    fingerprint: bytes


def protect_key(key: IdempotencyKey | None, keyring: Keyring | None) -> IdempotencyKey | None:
    """The key of a request with a password: a plain hash of the request would let a reader of the database try
    passwords against it.
    """
    if key is None or keyring is None:
        return key
    return IdempotencyKey(key.scope, key.key, keyring.sign(key.fingerprint))


class _Keyed(Protocol):
    @property
    def environment(self) -> str: ...
    @property
    def key(self) -> IdempotencyKey | None: ...


_Place = tuple[str, str, str]


async def bind_keys(
    conn: Connection, requests: Sequence[tuple[int, str, IdempotencyKey | None, UUID]]
) -> dict[int, Admission]:
    """Bind each request's key to its run id, unless it is bound already.

    Takes (position, environment, key, run id); returns, by position, what became of those whose key was bound before:
    Duplicate, or Rejected when the request differs from the first. Within one batch the first of a key wins.
    """
    winners: dict[_Place, tuple[IdempotencyKey, UUID]] = {}
    keyed = [
        (position, (environment, key.scope, key.key), key, run_id)
        for position, environment, key, run_id in requests
        if key
    ]
    if not keyed:
        return {}
    for _, place, key, run_id in keyed:
        winners.setdefault(place, (key, run_id))
    bound = await _insert_keys(conn, winners)
    missing = [place for place in winners if place not in bound]
    if missing:
        bound |= await _get_keys(conn, missing)
    return {
        position: _verdict(key, bound[place]) for position, place, key, run_id in keyed if bound[place][0] != run_id
    }


async def is_bound(conn: Connection, *, environment: str, key: IdempotencyKey) -> bool:
    """Whether a request with this key came before, within its lifetime."""
    found: bool = await conn.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM penstock.idempotency_keys
            WHERE environment = $1 AND scope = $2 AND key = $3 AND created_at >= clock_timestamp() - $4::interval
        )
        """,
        environment,
        key.scope,
        key.key,
        KEY_LIFETIME,
    )
    return found


async def bind_author_key(conn: Connection, *, environment: str, key: IdempotencyKey, first: UUID, other: UUID) -> UUID:
    """The id of the run that an author's `key` stands for, of everyone who gives it: `first`, or `other` when that is a
    run which the key no longer holds, because its time is over or the run was cancelled.

    Raises Permanent when the key stands for another request.
    """
    bound: Record | None = await conn.fetchrow(
        """
        WITH bound AS (
        INSERT INTO penstock.idempotency_keys AS k (environment, scope, key, fingerprint, run_id)
        SELECT $1, $2, $3, $4, CASE WHEN EXISTS (
            SELECT FROM penstock.runs r
            WHERE r.id = $5 AND (r.state = 'cancelled' OR r.created_at < clock_timestamp() - $7::interval)
        ) THEN $6::uuid ELSE $5::uuid END
        ON CONFLICT (environment, scope, key) DO UPDATE
            SET fingerprint = EXCLUDED.fingerprint, run_id = $6, created_at = clock_timestamp()
            WHERE k.created_at < clock_timestamp() - $7::interval
               OR EXISTS (SELECT FROM penstock.runs r WHERE r.id = k.run_id AND r.state = 'cancelled')
        RETURNING run_id, fingerprint
        ), noted AS (
            -- For `cancel: {workflow, key}`, which knows the first id by itself.
            INSERT INTO penstock.keyed_runs (run_id, first_id) SELECT b.run_id, $5 FROM bound b WHERE b.run_id <> $5
        )
        SELECT run_id, fingerprint FROM bound
        """,
        environment,
        key.scope,
        key.key,
        key.fingerprint,
        first,
        other,
        KEY_LIFETIME,
    )
    place = (environment, key.scope, key.key)
    run_id, fingerprint = tuple(bound) if bound is not None else (await _get_keys(conn, [place]))[place]
    if fingerprint != key.fingerprint:
        raise Permanent(
            "the key was used in the last 24 hours with other parameters; use a new key for another run",
            kind="idempotency_conflict",
        )
    return UUID(bytes=run_id.bytes)


async def unbind_keys(conn: Connection, requests: Sequence[_Keyed]) -> None:
    """Forget the keys of requests that were rejected after all, so that a corrected request may use them."""
    places = [(request.environment, request.key.scope, request.key.key) for request in requests if request.key]
    if places:
        await conn.execute(
            """
            DELETE FROM penstock.idempotency_keys k
            USING unnest($1::text[], $2::text[], $3::text[]) AS q (environment, scope, key)
            WHERE (k.environment, k.scope, k.key) = (q.environment, q.scope, q.key)
            """,
            *map(list, zip(*places, strict=True)),
        )


def _verdict(key: IdempotencyKey, bound: tuple[UUID, bytes]) -> Admission:
    run_id, fingerprint = bound
    if fingerprint == key.fingerprint:
        return Duplicate(run_id)
    return Rejected(
        "idempotency_conflict",
        f"idempotency key {key.key!r} was used before with another request; use a new key for a new request",
    )


async def _insert_keys(
    conn: Connection, winners: dict[_Place, tuple[IdempotencyKey, UUID]]
) -> dict[_Place, tuple[UUID, bytes]]:
    """Insert keys that are new or have expired; returns those."""
    rows = sorted((*place, key.fingerprint, run_id) for place, (key, run_id) in winners.items())
    inserted = await conn.fetch(
        """
        INSERT INTO penstock.idempotency_keys AS k (environment, scope, key, fingerprint, run_id)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::uuid[])
        ON CONFLICT (environment, scope, key) DO UPDATE
            SET fingerprint = EXCLUDED.fingerprint, run_id = EXCLUDED.run_id, created_at = clock_timestamp()
            WHERE k.created_at < clock_timestamp() - $6::interval
        RETURNING environment, scope, key, run_id, fingerprint
        """,
        *map(list, zip(*rows, strict=True)),
        KEY_LIFETIME,
    )
    return {(row["environment"], row["scope"], row["key"]): (row["run_id"], row["fingerprint"]) for row in inserted}


async def _get_keys(conn: Connection, places: Sequence[_Place]) -> dict[_Place, tuple[UUID, bytes]]:
    """What these keys are bound to. A statement of its own: only a new snapshot sees a row another transaction just
    committed.
    """
    rows = await conn.fetch(
        """
        SELECT k.environment, k.scope, k.key, k.run_id, k.fingerprint
        FROM unnest($1::text[], $2::text[], $3::text[]) AS q (environment, scope, key)
        JOIN penstock.idempotency_keys k ON (k.environment, k.scope, k.key) = (q.environment, q.scope, q.key)
        """,
        *map(list, zip(*places, strict=True)),
    )
    return {(row["environment"], row["scope"], row["key"]): (row["run_id"], row["fingerprint"]) for row in rows}
