"""Users who come with tokens of an issuer (OpenID Connect): who is who, and who is new.

An issuer's `sub` is one person forever (OpenID Connect Core 1.0, section 2), so it is remembered. Somebody who comes
for the first time is the user who has the same email, if the issuer has verified it; an email that is not verified
says nothing.
"""

from typing import NamedTuple

from penstock.db import Connection
from penstock.definitions.models import DataType
from penstock.domain.ids import new_thing_id
from penstock.things.records import NewThing, create_things
from penstock.things.tables import USER, qualified_table


class Identity(NamedTuple):
    """Somebody, as an issuer knows them. `email` is in lower case, and there only where the issuer has verified it."""

    issuer: str
    subject: str
    email: str | None


class Connected(NamedTuple):
    """The user that an identity belongs to. `has_lost_password`: somebody had signed up with their email, and cannot
    log in with it any more; their sessions have still to be ended.
    """

    user_id: str
    has_lost_password: bool = False


async def find_identity(conn: Connection, *, environment: str, identity: Identity) -> str | None:
    """The `_id` of the user who has come with this identity before; None when nobody has, or they were deleted."""
    table = qualified_table(environment, USER.name)
    found: str | None = await conn.fetchval(
        f"""
        SELECT i.user_id FROM penstock.identities i
        WHERE i.environment = $1 AND i.issuer = $2 AND i.subject = $3
          AND EXISTS (SELECT FROM {table} u WHERE u."_id" = i.user_id)
        """,
        environment,
        identity.issuer,
        identity.subject,
    )
    return found


async def connect_identity(
    conn: Connection, *, environment: str, identity: Identity, user: DataType, may_create: bool
) -> Connected | None:
    """The user that an identity belongs to from now on: the one with its email, or a new one if one may be
    made. None when there is neither, or several users have the email. To be called in a transaction.

    Those who connect one email take turns. Raises UniqueViolation when the app's own rules refuse the new user.
    """
    lock = f"account {environment} {identity.email or f'{identity.issuer} {identity.subject}'}"
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", lock)
    known = await find_identity(conn, environment=environment, identity=identity)
    if known is not None:
        return Connected(known)
    candidates = [] if identity.email is None else await _list_users(conn, environment, identity.email)
    if len(candidates) > 1 or not (candidates or may_create):
        return None
    has_lost_password = False
    if candidates:
        user_id = candidates[0]
        has_lost_password = await _drop_unverified(conn, environment, user_id)
    else:
        user_id = new_thing_id()
        thing = NewThing(user_id, {} if identity.email is None else {"email": identity.email}, user_id)
        await create_things(conn, environment=environment, data_type=user, things=[thing])
    await conn.execute(
        """
        INSERT INTO penstock.identities (environment, issuer, subject, user_id) VALUES ($1, $2, $3, $4)
        ON CONFLICT (environment, issuer, subject) DO UPDATE SET user_id = EXCLUDED.user_id, since = clock_timestamp()
        """,
        environment,
        identity.issuer,
        identity.subject,
        user_id,
    )
    return Connected(user_id, has_lost_password)


async def _list_users(conn: Connection, environment: str, email: str) -> list[str]:
    """The users with this email, at most two: the one whose account has it, or those whose field has it."""
    table = qualified_table(environment, USER.name)
    rows = await conn.fetch(
        f"""
        SELECT a.user_id AS id FROM penstock.accounts a
        WHERE a.environment = $1 AND a.email = $2 AND EXISTS (SELECT FROM {table} u WHERE u."_id" = a.user_id)
        UNION
        SELECT u."_id" FROM {table} u
        WHERE lower(u."email") = $2
          AND NOT EXISTS (SELECT FROM penstock.accounts a WHERE a.environment = $1 AND a.user_id = u."_id")
        LIMIT 2
        """,
        environment,
        email,
    )
    return [row["id"] for row in rows]


async def _drop_unverified(conn: Connection, environment: str, user_id: str) -> bool:
    """Somebody who has signed up with an email that is not theirs must not keep a password to it."""
    dropped = await conn.fetchval(
        """
        DELETE FROM penstock.accounts WHERE environment = $1 AND user_id = $2 AND verified_at IS NULL RETURNING true
        """,
        environment,
        user_id,
    )
    return dropped is not None
