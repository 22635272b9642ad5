"""Accounts: what the users of an app log in with. An account belongs to a thing of the type `user` and ends with it.

One logs in with the email of the account, which nobody else in the environment has. It is the one that was signed up
with, or to which the last mail about the password went; the field `email` of the thing says where an app writes to, and
changing it changes no account.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from penstock.db import Connection
from penstock.domain.mail_addresses import parse_address
from penstock.things.tables import USER, qualified_table

MAX_EMAIL_CHARACTERS: Final = 320


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it is stored."""

    user_id: str
    email: str
    password_hash: str
    verified_at: datetime | None


def normalize_email(text: str) -> str:
    """The email as accounts are found by it: in lower case. Raises ValueError for what is not one address."""
    email = parse_address(text).email.lower()
    if len(email) > MAX_EMAIL_CHARACTERS:
        raise ValueError(f"an email has at most {MAX_EMAIL_CHARACTERS} characters")
    return email


async def find_account(conn: Connection, *, environment: str, email: str) -> Account | None:
    """The account with this email, in lower case; None when there is none, or its user has been deleted."""
    table = qualified_table(environment, USER.name)
    row = await conn.fetchrow(
        f"""
        SELECT a.user_id, a.email, a.password_hash, a.verified_at
        FROM penstock.accounts a
        WHERE a.environment = $1 AND a.email = $2 AND EXISTS (SELECT FROM {table} u WHERE u."_id" = a.user_id)
        """,
        environment,
        email,
    )
    return None if row is None else Account(**row)


async def is_email_taken(conn: Connection, *, environment: str, email: str) -> bool:
    """Whether an account or a user has this email, in any case. Those who ask for one email take turns until their
    transactions end; an account whose user has been deleted makes way.
    """
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"account {environment} {email}")
    table = qualified_table(environment, USER.name)
    await conn.execute(
        f"""
        DELETE FROM penstock.accounts a
        WHERE a.environment = $1 AND a.email = $2 AND NOT EXISTS (SELECT FROM {table} u WHERE u."_id" = a.user_id)
        """,
        environment,
        email,
    )
    taken: bool = await conn.fetchval(
        f"""
        SELECT EXISTS (SELECT FROM penstock.accounts WHERE environment = $1 AND email = $2)
            OR EXISTS (SELECT FROM {table} WHERE lower("email") = $2)
        """,
        environment,
        email,
    )
    return taken


async def store_account(conn: Connection, *, environment: str, user_id: str, email: str, password_hash: str) -> None:
    """Give a user who has none an account. Raises UniqueViolation when another one has the email."""
    await conn.execute(
        "INSERT INTO penstock.accounts (environment, user_id, email, password_hash) VALUES ($1, $2, $3, $4)",
        environment,
        user_id,
        email,
        password_hash,
    )


class Known(NamedTuple):
    """A user, and the email that mails to them go to: that of the account, else that of the thing."""

    user_id: str
    email: str


async def find_user_by_email(conn: Connection, *, environment: str, email: str) -> Known | None:
    """The user whose account has this email, in lower case; else the one user without an account whose field has it.
    None when there is none, or several.
    """
    table = qualified_table(environment, USER.name)
    rows = await conn.fetch(
        f"""
        SELECT a.user_id AS user_id, 1 AS rank FROM penstock.accounts a
        WHERE a.environment = $1 AND a.email = $2 AND EXISTS (SELECT FROM {table} u WHERE u."_id" = a.user_id)
        UNION ALL
        SELECT u."_id", 2 FROM {table} u
        WHERE lower(u."email") = $2
          AND NOT EXISTS (SELECT FROM penstock.accounts a WHERE a.environment = $1 AND a.user_id = u."_id")
        ORDER BY rank LIMIT 2
        """,
        environment,
        email,
    )
    if not rows or (rows[0]["rank"] == 2 and len(rows) == 2):
        return None
    return Known(rows[0]["user_id"], email)


async def replace_account(conn: Connection, *, environment: str, user_id: str, email: str, password_hash: str) -> bool:
    """Give a user an account with an email that is verified, in place of the one they have; False when there is no such
    user any more. Raises UniqueViolation when another account has the email.
    """
    table = qualified_table(environment, USER.name)
    stored = await conn.fetchval(
        f"""
        INSERT INTO penstock.accounts AS a (environment, user_id, email, password_hash, verified_at)
        SELECT $1, $2, $3, $4, clock_timestamp() WHERE EXISTS (SELECT FROM {table} u WHERE u."_id" = $2)
        ON CONFLICT (environment, user_id) DO UPDATE
        SET email = EXCLUDED.email, password_hash = EXCLUDED.password_hash, verified_at = EXCLUDED.verified_at,
            changed_at = clock_timestamp()
        RETURNING true
        """,
        environment,
        user_id,
        email,
        password_hash,
    )
    return stored is not None


async def verify_account(conn: Connection, *, environment: str, user_id: str, email: str) -> bool:
    """Note that the email of an account is verified; False when the account has another one by now, or has ended."""
    verified = await conn.fetchval(
        """
        UPDATE penstock.accounts SET verified_at = coalesce(verified_at, clock_timestamp())
        WHERE environment = $1 AND user_id = $2 AND email = $3
        RETURNING true
        """,
        environment,
        user_id,
        email,
    )
    return verified is not None
