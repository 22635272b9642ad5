"""Accounts: what the users of an app log in with. An account belongs to a thing of the type `user` and ends with it.

One logs in with the email of the account, which nobody else in the environment has. It is the one that was signed up
with, or to which the last mail about the password went; the field `email` of the thing says where an app writes to, and
changing it changes no account.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

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
