"""How often passwords may be tried.

Counted are, in a quarter of an hour, tries from one address, tries with one email from one address, and tries with one
email from addresses where nobody has logged in with it before. So a stranger who tries passwords is stopped, whether
from one address or from many; and nobody who has logged in from an address before is locked out there by a stranger
elsewhere. A new password, set by a mail, makes the address that it was set from a known one.

A try is counted before the password is checked, so that tries at the same moment are bounded too; one that was right
does not count.
"""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from penstock.db import Connection

PERIOD: Final = timedelta(minutes=15)
MAX_BY_ADDRESS: Final = 100
MAX_BY_BOTH: Final = 10
MAX_BY_EMAIL: Final = 50
MAX_LETTERS: Final = 10
LETTERS_PERIOD: Final = timedelta(hours=1)
KNOWN_FOR: Final = timedelta(days=180)
"""A place where nobody has logged in for so long is unknown again."""


class Origin(NamedTuple):
    """Whose password is tried, and from where: an email in lower case, and the group of a client's address, or text
    that stands for none.
    """

    environment: str
    email: str
    address: str


async def begin_try(conn: Connection, origin: Origin) -> bool:
    """Count a try; false when there were too many. What is asked does not depend on whether somebody has the email.

    Not to be called in a transaction: others wait for what it locks.
    """
    if not await _count(conn, origin.environment, _by_address(origin), MAX_BY_ADDRESS):
        return False
    if not await _count(conn, origin.environment, _by_both(origin), MAX_BY_BOTH):
        return False
    is_known: bool = await conn.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM penstock.known_places
            WHERE environment = $1 AND key = $2 AND seen_at > clock_timestamp() - $3::interval
        )
        """,
        origin.environment,
        _by_both(origin),
        KNOWN_FOR,
    )
    return is_known or await _count(conn, origin.environment, _by_email(origin), MAX_BY_EMAIL)


async def begin_letter(conn: Connection, *, environment: str, email: str) -> bool:
    """Count a mail about an account to this email; false when there were too many for it not to be a nuisance."""
    key = hashlib.sha256(b"letter\x00" + _encode(email)).digest()
    return await _count(conn, environment, key, MAX_LETTERS, LETTERS_PERIOD)


async def forgive_tries(conn: Connection, origins: Sequence[Origin]) -> None:
    """The passwords were right: these tries do not count, nor do earlier ones with this email from this address, which
    is a known one from now on.
    """
    keys = [(one.environment, key) for one in origins for key in (_by_address(one), _by_email(one))]
    both = [(one.environment, _by_both(one)) for one in origins]
    await conn.execute(
        """
        WITH done AS (
            SELECT environment, key, false AS is_over FROM unnest($1::text[], $2::bytea[]) AS k (environment, key)
            UNION ALL
            SELECT environment, key, true FROM unnest($3::text[], $4::bytea[]) AS k (environment, key)
        ), held AS MATERIALIZED (
            SELECT t.environment, t.key, d.is_over, d.times
            FROM (SELECT environment, key, is_over, count(*) AS times FROM done GROUP BY 1, 2, 3) d
            JOIN penstock.password_tries t USING (environment, key)
            ORDER BY t.environment, t.key
            FOR UPDATE OF t
        )
        UPDATE penstock.password_tries t
        SET count = CASE WHEN h.is_over THEN 0 ELSE greatest(t.count - h.times, 0) END
        FROM held h WHERE t.environment = h.environment AND t.key = h.key
        """,
        [environment for environment, _ in keys],
        [key for _, key in keys],
        [environment for environment, _ in both],
        [key for _, key in both],
    )
    await conn.execute(
        """
        INSERT INTO penstock.known_places AS p (environment, key)
        SELECT DISTINCT environment, key FROM unnest($1::text[], $2::bytea[]) AS k (environment, key)
        ORDER BY environment, key
        ON CONFLICT (environment, key) DO UPDATE SET seen_at = clock_timestamp()
        """,
        [environment for environment, _ in both],
        [key for _, key in both],
    )


async def delete_old_tries(conn: Connection, *, most: int) -> int:
    """Forget counts whose period is over, and places where nobody logs in any more, at most `most` of each; how many
    there were.
    """
    tries = await conn.fetch(
        """
        DELETE FROM penstock.password_tries t
        USING (
            SELECT environment, key FROM penstock.password_tries WHERE until < clock_timestamp()
            ORDER BY until LIMIT $1 FOR UPDATE SKIP LOCKED
        ) old
        WHERE t.environment = old.environment AND t.key = old.key
        RETURNING true
        """,
        most,
    )
    places = await conn.fetch(
        """
        DELETE FROM penstock.known_places p
        USING (
            SELECT environment, key FROM penstock.known_places WHERE seen_at < clock_timestamp() - $2::interval
            ORDER BY seen_at LIMIT $1 FOR UPDATE SKIP LOCKED
        ) old
        WHERE p.environment = old.environment AND p.key = old.key
        RETURNING true
        """,
        most,
        KNOWN_FOR,
    )
    return len(tries) + len(places)


async def _count(conn: Connection, environment: str, key: bytes, most: int, period: timedelta = PERIOD) -> bool:
    allowed: bool = await conn.fetchval(
        """
        INSERT INTO penstock.password_tries AS t (environment, key, count, until)
        VALUES ($1, $2, 1, clock_timestamp() + $3::interval)
        ON CONFLICT (environment, key) DO UPDATE
        SET count = CASE WHEN t.until <= clock_timestamp() THEN 1 ELSE least(t.count, $4) + 1 END,
            until = CASE WHEN t.until <= clock_timestamp() THEN EXCLUDED.until ELSE t.until END
        RETURNING t.count <= $4
        """,
        environment,
        key,
        period,
        most,
    )
    return allowed


def _by_address(origin: Origin) -> bytes:
    return hashlib.sha256(b"address\x00" + _encode(origin.address)).digest()


def _by_email(origin: Origin) -> bytes:
    return hashlib.sha256(b"email\x00" + _encode(origin.email)).digest()


def _by_both(origin: Origin) -> bytes:
    return hashlib.sha256(b"both\x00" + _encode(origin.email) + b"\x00" + _encode(origin.address)).digest()


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
