"""The database's roles: those that hold rights, and the logins that services use, which are members of them.

Passwords go to the server as SCRAM-SHA-256 verifiers (RFC 5802, RFC 7677), as PostgreSQL stores them, so that none
appears in its log.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Final, NamedTuple

import asyncpg

from penstock.db.pool import Connection
from penstock.db.rights import PARTITIONS_ROLE, SERVICES, Service, role_of
from penstock.errors import ConfigurationError

_ITERATIONS: Final = 4096
"""PostgreSQL's own number (`scram_iterations`): passwords are long and random, and each connection pays for it."""


class Login(NamedTuple):
    """Who a service is to the database."""

    user: str
    password: str


async def create_roles(conn: Connection, logins: Mapping[Service, Login]) -> None:
    """Create the roles that hold rights, and the logins with their passwords; what exists is brought up to date.

    To be called in a transaction, by a role that may create roles. That role becomes a member of all of them, so that
    it can change what is theirs. Raises ConfigurationError for a password that is no ASCII, or a login that is the
    calling role itself.
    """
    owner: str = await conn.fetchval("SELECT current_user")
    for service, login in logins.items():
        if login.user == owner:
            raise ConfigurationError(f"the {service}'s database user is {owner}, which owns the database; name another")
    for role in (PARTITIONS_ROLE, *map(role_of, SERVICES)):
        await _ensure_role(conn, role)
        await _grant(conn, role, to=owner)
    await _grant(conn, PARTITIONS_ROLE, to=role_of("scheduler"))
    for service, login in logins.items():
        await _ensure_role(conn, login.user)
        await _grant(conn, login.user, to=owner)
        await _execute(conn, "SELECT format('ALTER ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)", *_verified(login))
        if login.user != role_of(service):
            await _grant(conn, role_of(service), to=login.user)
        await _execute(
            conn, "SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), $1::text)", login.user
        )


async def _ensure_role(conn: Connection, role: str) -> None:
    await _execute(
        conn,
        """
        SELECT format('DO %L', format(
            'BEGIN CREATE ROLE %I; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END', $1::text))
        WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)
        """,
        role,
    )


async def _grant(conn: Connection, role: str, *, to: str) -> None:
    # A superuser has what a member has; anybody else becomes a member that inherits the rights.
    await _execute(
        conn,
        """
        SELECT format('GRANT %I TO %I', $1::text, $2::text)
        WHERE NOT pg_has_role($2::text, $1::text, 'USAGE')
        """,
        role,
        to,
    )


async def _execute(conn: Connection, statement: str, *arguments: str) -> None:
    # The server writes the statement: what names or defines a role takes no arguments.
    for (written,) in await conn.fetch(statement, *arguments):
        try:
            await conn.execute(written)
        except asyncpg.InsufficientPrivilegeError as error:
            raise ConfigurationError(
                f"PostgreSQL refuses to make the services' roles: {error}; the user of PENSTOCK_DATABASE_URL needs "
                f"CREATEROLE and, where another user has made it, GRANT {arguments[0]} … WITH ADMIN OPTION"
            ) from error


def _verified(login: Login) -> tuple[str, str]:
    if not login.password.isascii():
        raise ConfigurationError(f"the password of the database user {login.user} contains characters beyond ASCII")
    return login.user, make_verifier(login.password, secrets.token_bytes(16))


def make_verifier(password: str, salt: bytes) -> str:
    """The SCRAM-SHA-256 verifier of an ASCII password, as PostgreSQL takes it in place of the password."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    in_base64 = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${_ITERATIONS}:{in_base64[0]}${in_base64[1]}:{in_base64[2]}"
