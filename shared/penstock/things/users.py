"""The users of an app: things of the type `user`, which every environment has."""

from collections.abc import Collection

from penstock.db import Connection
from penstock.things.tables import USER, qualified_table


async def find_user(conn: Connection, *, environment: str, who: str) -> str | None:
    """The `_id` of the user with this id, or this email (in any case); None when there is none, or several."""
    table = qualified_table(environment, USER.name)
    if await conn.fetchval("SELECT to_regclass($1)", table) is None:  # nothing has been deployed yet
        return None
    rows = await conn.fetch(f'SELECT "_id" FROM {table} WHERE "_id" = $1 OR lower("email") = lower($1) LIMIT 2', who)
    return rows[0]["_id"] if len(rows) == 1 else None


async def list_existing_users(conn: Connection, *, environment: str, ids: Collection[str]) -> frozenset[str]:
    """Those of these `_id`s that users have. Some user has to have existed: the table has to be there."""
    table = qualified_table(environment, USER.name)
    rows = await conn.fetch(f'SELECT "_id" FROM {table} WHERE "_id" = ANY($1::text[])', sorted(ids))
    return frozenset(row["_id"] for row in rows)


async def list_emails(conn: Connection, *, environment: str, ids: Collection[str]) -> dict[str, str]:
    """The emails of those users with these `_id`s who are there and have one."""
    table = qualified_table(environment, USER.name)
    if await conn.fetchval("SELECT to_regclass($1)", table) is None:  # nothing has been deployed yet
        return {}
    rows = await conn.fetch(
        f'SELECT "_id", "email" FROM {table} WHERE "_id" = ANY($1::text[]) AND "email" IS NOT NULL', sorted(ids)
    )
    return {row["_id"]: row["email"] for row in rows}
