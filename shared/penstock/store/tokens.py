"""Tokens of admins and users. A token is shown once, when it is made; what is stored is its hash.

Every use is looked up, so that a token that was revoked is refused from that moment on, by all processes.
"""

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection, Record
from penstock.definitions.models import ENVIRONMENTS
from penstock.domain.callers import Caller, Role
from penstock.domain.ids import new_run_id
from penstock.store.audit import Act, AuditAction, note_acts

PREFIX: Final = "pst_"
USER_LIFETIME: Final = timedelta(days=1)
"""How long a user's token holds unless its maker says otherwise."""
IDLE_AFTER: Final = timedelta(days=30)
"""A session that is not used for so long has ended, as with Bubble."""
ENDED_FOR: Final = timedelta(days=30)
"""How long tokens of users are kept that hold no more, for those who ask who has used what."""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that is asked for: with a role, or of a user. `environment` None stands for both.

    Whoever names workflows or types lets the token reach nothing else.
    """

    role: Role | None = None
    user_id: str | None = None
    environment: str | None = None
    label: str = ""
    workflows: Collection[str] | None = None
    types: Collection[str] | None = None
    sees_payloads: bool = True
    lifetime: timedelta | None = None


@dataclass(frozen=True, slots=True)
class NewSession:
    """A token that a user gets by logging in: its id, its hash, and how long it holds. `run_id` has made it."""

    id: UUID
    digest: bytes
    user_id: str
    lifetime: timedelta
    run_id: UUID


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token as it is stored."""

    id: UUID
    environment: str | None
    role: Role | None
    user_id: str | None
    label: str
    workflows: tuple[str, ...] | None
    types: tuple[str, ...] | None
    sees_payloads: bool
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def shown(self) -> dict[str, Any]:
        """What is shown of it, by the names that the API and the command line give it."""
        return {
            "id": self.id,
            "label": self.label,
            "user": self.user_id,
            "role": self.role,
            "environment": self.environment,
            "workflows": self.workflows,
            "types": self.types,
            "payloads": self.sees_payloads,
            "created_at": self.created_at,
            "created_by": self.created_by,
            "expires_at": self.expires_at,
            "last_used_at": self.last_used_at,
        }


def digest_token(token: str) -> bytes:
    """What is stored of a token. It is random, so a fast hash is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def make_token() -> str:
    """A new token, which nobody can guess."""
    return PREFIX + secrets.token_urlsafe(32)


async def create_token(conn: Connection, wanted: NewToken, *, actor: str) -> tuple[str, StoredToken]:
    """Make a token; it, and what is stored of it. To be called in a transaction."""
    token = make_token()
    workflows, types = _scope(wanted)
    lifetime = USER_LIFETIME if wanted.lifetime is None and wanted.user_id is not None else wanted.lifetime
    row = await conn.fetchrow(
        """
        INSERT INTO penstock.tokens (id, digest, environment, role, user_id, label, workflows, types, sees_payloads,
                                     created_by, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, clock_timestamp() + $11::interval)
        RETURNING *
        """,
        new_run_id(),
        digest_token(token),
        wanted.environment,
        None if wanted.role is None else wanted.role.value,
        wanted.user_id,
        wanted.label,
        workflows,
        types,
        wanted.sees_payloads,
        actor,
        lifetime,
    )
    assert row is not None, "INSERT … RETURNING answers with the row"
    stored = _from_row(row)
    await _note(conn, AuditAction.TOKEN_CREATE, stored, actor)
    return token, stored


def _scope(wanted: NewToken) -> tuple[list[str] | None, list[str] | None]:
    """Workflows and types; where only one of them is named, nothing of the other is reached."""
    if wanted.workflows is None and wanted.types is None:
        return None, None
    return sorted(wanted.workflows or ()), sorted(wanted.types or ())


async def open_sessions(conn: Connection, *, environment: str, sessions: Sequence[NewSession]) -> None:
    """Store tokens of users who have logged in. A user's own act, so it is not in the audit."""
    await conn.execute(
        """
        INSERT INTO penstock.tokens (id, digest, environment, user_id, label, created_by, expires_at, idle_after)
        SELECT s.id, s.digest, $1, s.user_id, 'session', 'run ' || s.run_id, clock_timestamp() + s.lifetime, $7
        FROM unnest($2::uuid[], $3::bytea[], $4::text[], $5::interval[], $6::uuid[])
             AS s (id, digest, user_id, lifetime, run_id)
        """,
        environment,
        [one.id for one in sessions],
        [one.digest for one in sessions],
        [one.user_id for one in sessions],
        [one.lifetime for one in sessions],
        [one.run_id for one in sessions],
        IDLE_AFTER,
    )


async def end_sessions(
    conn: Connection, *, environment: str, user_id: str, only: UUID | None = None, but: UUID | None = None
) -> int:
    """End tokens of a user at once: all, `only` one, or all `but` one; how many that were."""
    rows = await conn.fetch(
        """
        WITH ending AS MATERIALIZED (
            SELECT id FROM penstock.tokens
            WHERE environment = $1 AND user_id = $2 AND revoked_at IS NULL AND expires_at > clock_timestamp()
              AND ($3::uuid IS NULL OR id = $3) AND ($4::uuid IS NULL OR id <> $4)
            ORDER BY id FOR UPDATE
        )
        UPDATE penstock.tokens t SET revoked_at = clock_timestamp() FROM ending e WHERE t.id = e.id RETURNING true
        """,
        environment,
        user_id,
        only,
        but,
    )
    return len(rows)


async def delete_ended_sessions(conn: Connection, *, most: int) -> int:
    """Forget tokens of users that have not held for a while, at most `most`; how many there were."""
    rows = await conn.fetch(
        """
        DELETE FROM penstock.tokens
        WHERE user_id IS NOT NULL AND id = ANY(ARRAY(
            (SELECT id FROM penstock.tokens
             WHERE user_id IS NOT NULL AND expires_at < statement_timestamp() - $1::interval
             ORDER BY expires_at LIMIT $2)
            UNION
            (SELECT id FROM penstock.tokens
             WHERE user_id IS NOT NULL AND revoked_at < statement_timestamp() - $1::interval
             ORDER BY revoked_at LIMIT $2)
            LIMIT $2
        ))
        RETURNING true
        """,
        ENDED_FOR,
        most,
    )
    return len(rows)


async def list_tokens(
    conn: Connection, *, environment: str | None = None, after: tuple[datetime, UUID] | None = None, limit: int
) -> list[StoredToken]:
    """Tokens that hold now, the newest first: all, or those that hold in `environment`."""
    rows = await conn.fetch(
        """
        SELECT * FROM penstock.tokens
        WHERE revoked_at IS NULL
          AND (expires_at IS NULL OR expires_at > clock_timestamp())
          AND ($1::text IS NULL OR environment IS NULL OR environment = $1)
          AND created_at <= coalesce($2::timestamptz, 'infinity')
          AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::uuid))
        ORDER BY created_at DESC, id DESC
        LIMIT $4
        """,
        environment,
        after[0] if after else None,
        after[1] if after else None,
        limit,
    )
    return [_from_row(row) for row in rows]


async def list_made_tokens(conn: Connection, *, environment: str | None = None, limit: int) -> list[StoredToken]:
    """The same without the sessions of users who have logged in."""
    rows = await conn.fetch(
        """
        SELECT * FROM penstock.tokens
        WHERE idle_after IS NULL AND revoked_at IS NULL
          AND (expires_at IS NULL OR expires_at > clock_timestamp())
          AND ($1::text IS NULL OR environment IS NULL OR environment = $1)
          AND created_at <= 'infinity'
        ORDER BY created_at DESC, id DESC
        LIMIT $2
        """,
        environment,
        limit,
    )
    return [_from_row(row) for row in rows]


async def revoke_token(
    conn: Connection, *, id: UUID, environment: str | None = None, is_alone: bool = False, actor: str
) -> StoredToken | None:
    """End a token at once; None when none holds that has this id (in `environment`, if one is given; with `is_alone`,
    in no other). To be called in a transaction.
    """
    row = await conn.fetchrow(
        """
        UPDATE penstock.tokens
        SET revoked_at = clock_timestamp()
        WHERE id = $1 AND revoked_at IS NULL
          AND ($2::text IS NULL OR environment = $2 OR (environment IS NULL AND NOT $3))
        RETURNING *
        """,
        id,
        environment,
        is_alone,
    )
    if row is None:
        return None
    stored = _from_row(row)
    await _note(conn, AuditAction.TOKEN_REVOKE, stored, actor)
    return stored


async def find_callers(conn: Connection, *, digests: Sequence[bytes]) -> dict[bytes, Caller]:
    """Who bears which of these tokens, as far as they hold. Notes that they were used, to the minute."""
    rows = await conn.fetch(
        """
        SELECT t.*, t.last_used_at IS NULL OR t.last_used_at < clock_timestamp() - interval '1 minute' AS is_news
        FROM penstock.tokens t
        WHERE t.digest = ANY($1::bytea[])
          AND t.revoked_at IS NULL
          AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp())
          AND (t.idle_after IS NULL OR coalesce(t.last_used_at, t.created_at) > clock_timestamp() - t.idle_after)
        """,
        list(digests),
    )
    used = [row["id"] for row in rows if row["is_news"]]
    if used:
        await conn.execute(
            "UPDATE penstock.tokens SET last_used_at = clock_timestamp() WHERE id = ANY($1::uuid[])", used
        )
    return {row["digest"]: caller_of(row) for row in rows}


def caller_of(row: Record) -> Caller:
    """The bearer of the token in a row of the table."""
    if row["user_id"] is not None:
        return Caller(
            f"user {row['user_id']}", user_id=row["user_id"], environment=row["environment"], token_id=row["id"]
        )
    return Caller(
        f"token {row['label'] or row['id']}",
        role=Role(row["role"]),
        workflows=None if row["workflows"] is None else frozenset(row["workflows"]),
        types=None if row["types"] is None else frozenset(row["types"]),
        sees_payloads=row["sees_payloads"],
        environment=row["environment"],
    )


def _from_row(row: Record) -> StoredToken:
    return StoredToken(
        id=row["id"],
        environment=row["environment"],
        role=None if row["role"] is None else Role(row["role"]),
        user_id=row["user_id"],
        label=row["label"],
        workflows=None if row["workflows"] is None else tuple(row["workflows"]),
        types=None if row["types"] is None else tuple(row["types"]),
        sees_payloads=row["sees_payloads"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
    )


async def _note(conn: Connection, action: AuditAction, token: StoredToken, actor: str) -> None:
    after: dict[str, JsonValue] = {
        "role": None if token.role is None else token.role.value,
        "user": token.user_id,
        "label": token.label,
        "expires_at": None if token.expires_at is None else token.expires_at.isoformat(),
    }
    where = ENVIRONMENTS if token.environment is None else (token.environment,)
    await note_acts(conn, [Act(environment, actor, action, str(token.id), after={**after}) for environment in where])
