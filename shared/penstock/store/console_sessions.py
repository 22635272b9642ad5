"""Sessions of the console: who is logged in with a browser. What the cookie holds is stored as a hash alone.

A session that began with a token has what the token has at this moment, and ends with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from penstock.db import Connection
from penstock.definitions.models import ENVIRONMENTS
from penstock.domain.callers import ROOT, Caller, Role
from penstock.store.audit import Act, AuditAction, note_acts
from penstock.store.tokens import caller_of

IDLE_AFTER: Final = timedelta(minutes=30)
"""A session in which nobody has done anything for so long has ended."""
LIFETIME: Final = timedelta(hours=12)
"""How long a session lasts at most, however busy it is."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody whom the issuer of the settings has named, and what that person may do."""

    name: str
    role: Role
    sees_payloads: bool = True


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session that holds: of whom, and until when at most."""

    caller: Caller
    expires_at: datetime


async def open_session(
    conn: Connection, *, digest: bytes, by: bytes | Identity, root_digest: bytes | None, caller: Caller
) -> datetime | None:
    """Store a session of the bearer of a token (`by` is the token's hash) or of an identity, and note it in the audit;
    when it ends at the latest, or None when the token does not hold any more. To be called in a transaction.
    """
    identity = by if isinstance(by, Identity) else None
    is_root = by == root_digest
    row = await conn.fetchrow(
        """
        INSERT INTO penstock.console_sessions (digest, token_id, root_digest, identity, role, sees_payloads, expires_at)
        SELECT $1, t.id, $2, $3, $4, $5, clock_timestamp() + $6::interval
        FROM (SELECT 1) one
        LEFT JOIN penstock.tokens t ON t.digest = $7::bytea AND t.revoked_at IS NULL
        WHERE $7::bytea IS NULL OR t.id IS NOT NULL
        RETURNING expires_at
        """,
        digest,
        by if is_root else None,
        None if identity is None else identity.name,
        None if identity is None else identity.role.value,
        identity is None or identity.sees_payloads,
        LIFETIME,
        None if is_root or identity is not None else by,
    )
    if row is None:
        return None
    await note_acts(conn, _acts(AuditAction.SESSION_OPEN, caller))
    expires_at: datetime = row["expires_at"]
    return expires_at


async def find_session(
    conn: Connection, *, digest: bytes, root_digest: bytes | None, is_used: bool
) -> StoredSession | None:
    """The session of this hash, if it holds; `is_used` notes to the minute that somebody has done something."""
    row = await conn.fetchrow(
        """
        SELECT t.*, s.identity, s.role AS given_role, s.sees_payloads AS sees, s.expires_at AS ends_at,
               s.last_used_at < clock_timestamp() - interval '1 minute' AS is_news
        FROM penstock.console_sessions s
        LEFT JOIN penstock.tokens t ON t.id = s.token_id
        WHERE s.digest = $1 AND s.expires_at > clock_timestamp() AND s.last_used_at > clock_timestamp() - $2::interval
          AND (s.root_digest IS NULL OR s.root_digest = $3)
          AND (s.token_id IS NULL OR (t.role IS NOT NULL AND t.revoked_at IS NULL
               AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp())))
        """,
        digest,
        IDLE_AFTER,
        root_digest,
    )
    if row is None:
        return None
    if is_used and row["is_news"]:
        await _note_use(conn, digest)
    if row["identity"] is not None:
        caller = Caller(f"oidc:{row['identity']}", Role(row["given_role"]), sees_payloads=row["sees"])
    else:
        caller = ROOT if row["id"] is None else caller_of(row)
    return StoredSession(caller, row["ends_at"])


async def _note_use(conn: Connection, digest: bytes) -> None:
    await conn.execute(
        """
        WITH used AS (
            UPDATE penstock.console_sessions SET last_used_at = clock_timestamp() WHERE digest = $1 RETURNING token_id
        )
        UPDATE penstock.tokens t SET last_used_at = clock_timestamp() FROM used u WHERE t.id = u.token_id
        """,
        digest,
    )


async def end_session(conn: Connection, *, digest: bytes, caller: Caller | None) -> None:
    """Forget a session, if there is one. `caller`: whose it is, for the audit; None for one that is replaced. To be
    called in a transaction.
    """
    ended = await conn.fetchval(
        "DELETE FROM penstock.console_sessions WHERE digest = $1 RETURNING true",
        digest,
    )
    if ended and caller is not None:
        await note_acts(conn, _acts(AuditAction.SESSION_END, caller))


async def delete_ended_console_sessions(conn: Connection, *, most: int) -> int:
    """Forget sessions that hold no more, at most `most`; how many there were."""
    rows = await conn.fetch(
        """
        DELETE FROM penstock.console_sessions
        WHERE digest = ANY(ARRAY(
            SELECT digest FROM penstock.console_sessions WHERE expires_at < statement_timestamp()
            ORDER BY expires_at LIMIT $1
        ))
        RETURNING true
        """,
        most,
    )
    return len(rows)


def _acts(action: AuditAction, caller: Caller) -> Sequence[Act]:
    where = ENVIRONMENTS if caller.environment is None else (caller.environment,)
    return [Act(environment, caller.name, action, "console") for environment in where]
