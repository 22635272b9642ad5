"""Tokens in mails about accounts: of one use, for one purpose, for a limited time. Only their hashes are stored."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from penstock.db import Connection

Purpose = Literal["password", "email"]
LIFETIME: Final = timedelta(days=1)
"""As with Bubble, unless the step says otherwise."""
_MAX_OPEN: Final = 5
"""Of one email and purpose. The oldest make way."""


@dataclass(frozen=True, slots=True)
class Granted:
    """What a token was given for. `user_id` None: of nobody yet, who has this email."""

    email: str
    user_id: str | None


async def store_token(
    conn: Connection, *, environment: str, digest: bytes, purpose: Purpose, granted: Granted, lifetime: timedelta
) -> None:
    """Store a token that is about to be mailed. To be called in a transaction."""
    await conn.execute(
        """
        INSERT INTO penstock.account_tokens (digest, environment, purpose, email, user_id, expires_at)
        VALUES ($1, $2, $3, $4, $5, clock_timestamp() + $6::interval)
        """,
        digest,
        environment,
        purpose,
        granted.email,
        granted.user_id,
        lifetime,
    )
    await conn.execute(
        """
        DELETE FROM penstock.account_tokens
        WHERE digest IN (
            SELECT digest FROM penstock.account_tokens
            WHERE environment = $1 AND email = $2 AND purpose = $3
            ORDER BY expires_at DESC OFFSET $4
        )
        """,
        environment,
        granted.email,
        purpose,
        _MAX_OPEN,
    )


async def use_token(conn: Connection, *, environment: str, digest: bytes, purpose: Purpose) -> Granted | None:
    """What the token was given for, which it is not from now on; None when it is used, expired, or none. All other
    tokens of the same email and purpose end with it.
    """
    row = await conn.fetchrow(
        """
        DELETE FROM penstock.account_tokens
        WHERE digest = $1 AND environment = $2 AND purpose = $3 AND expires_at > clock_timestamp()
        RETURNING email, user_id
        """,
        digest,
        environment,
        purpose,
    )
    if row is None:
        return None
    await conn.execute(
        "DELETE FROM penstock.account_tokens WHERE environment = $1 AND email = $2 AND purpose = $3",
        environment,
        row["email"],
        purpose,
    )
    return Granted(row["email"], row["user_id"])


async def delete_expired_tokens(conn: Connection, *, most: int) -> int:
    """Forget tokens that have expired, at most `most`; how many there were."""
    rows = await conn.fetch(
        """
        DELETE FROM penstock.account_tokens t
        USING (
            SELECT digest FROM penstock.account_tokens WHERE expires_at < clock_timestamp()
            ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
        ) old
        WHERE t.digest = old.digest
        RETURNING true
        """,
        most,
    )
    return len(rows)
