"""The tables of an environment as they are, from PostgreSQL's catalogue."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from penstock.db import Connection, quote_identifier


@dataclass(frozen=True, slots=True)
class FoundTables:
    """The tables of an environment as they are: columns, with types as PostgreSQL spells them, and names of other parts
    by table. `checks` are by table and column, `sizes` are estimates.
    """

    columns: Mapping[str, Mapping[str, str]]
    uniques: Mapping[str, frozenset[str]]
    indexes: Mapping[str, frozenset[str]]
    checks: Mapping[tuple[str, str], tuple[str, ...]]
    sizes: Mapping[str, int]


async def find_tables(conn: Connection, *, environment: str) -> FoundTables:
    """What PostgreSQL's catalogue has about the environment's tables."""
    return FoundTables(
        await _get_columns(conn, environment),
        await _get_unique_constraints(conn, environment),
        await _get_indexes(conn, environment),
        await _get_checks(conn, environment),
        await _get_sizes(conn, environment),
    )


async def keep_triggers(
    conn: Connection, *, environment: str, names: Sequence[str], tables: Collection[str]
) -> set[tuple[str, str]]:
    """Drop triggers of these names from all tables of the environment but `tables`; those that stay, as pairs of table
    and trigger.
    """
    rows = await conn.fetch(
        """
        SELECT c.relname::text AS relname, t.tgname::text AS tgname
        FROM pg_trigger t
        JOIN pg_class c ON c.oid = t.tgrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND t.tgname = ANY($2::text[])
        """,
        environment,
        names,
    )
    found = {(row["relname"], row["tgname"]) for row in rows}
    stray = {pair for pair in found if pair[0] not in tables}
    for table, trigger in sorted(stray):
        await conn.execute(f"DROP TRIGGER {trigger} ON {quote_identifier(environment)}.{quote_identifier(table)}")
    return found - stray


async def _get_columns(conn: Connection, environment: str) -> dict[str, dict[str, str]]:
    """The columns of every table of the environment, with their types as PostgreSQL spells them."""
    rows = await conn.fetch(
        """
        SELECT t.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS type
        FROM pg_class t
        JOIN pg_namespace n ON n.oid = t.relnamespace
        JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE n.nspname = $1 AND t.relkind = 'r'
        """,
        environment,
    )
    tables: dict[str, dict[str, str]] = {}
    for row in rows:
        tables.setdefault(row["relname"], {})[row["attname"]] = row["type"]
    return tables


async def _get_unique_constraints(conn: Connection, environment: str) -> dict[str, frozenset[str]]:
    rows = await conn.fetch(
        """
        SELECT t.relname, array_agg(c.conname::text) AS names
        FROM pg_constraint c
        JOIN pg_class t ON t.oid = c.conrelid
        JOIN pg_namespace n ON n.oid = t.relnamespace
        WHERE n.nspname = $1 AND c.contype = 'u'
        GROUP BY t.relname
        """,
        environment,
    )
    return {row["relname"]: frozenset(row["names"]) for row in rows}


async def _get_indexes(conn: Connection, environment: str) -> dict[str, frozenset[str]]:
    rows = await conn.fetch(
        """
        SELECT tablename::text AS relname, array_agg(indexname::text) AS names
        FROM pg_indexes WHERE schemaname = $1 GROUP BY tablename
        """,
        environment,
    )
    return {row["relname"]: frozenset(row["names"]) for row in rows}


async def _get_checks(conn: Connection, environment: str) -> dict[tuple[str, str], tuple[str, ...]]:
    """The checks of single columns, by table and column."""
    rows = await conn.fetch(
        """
        SELECT t.relname::text AS relname, a.attname::text AS attname, array_agg(c.conname::text) AS names
        FROM pg_constraint c
        JOIN pg_class t ON t.oid = c.conrelid
        JOIN pg_namespace n ON n.oid = t.relnamespace
        JOIN pg_attribute a ON a.attrelid = t.oid AND c.conkey = ARRAY[a.attnum]
        WHERE n.nspname = $1 AND c.contype = 'c'
        GROUP BY t.relname, a.attname
        """,
        environment,
    )
    return {(row["relname"], row["attname"]): tuple(row["names"]) for row in rows}


async def _get_sizes(conn: Connection, environment: str) -> dict[str, int]:
    """About how many things there are in each table; 0 where nobody has counted yet."""
    rows = await conn.fetch(
        """
        SELECT t.relname::text AS relname, greatest(t.reltuples, 0)::bigint AS things
        FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
        WHERE n.nspname = $1 AND t.relkind = 'r'
        """,
        environment,
    )
    return {row["relname"]: row["things"] for row in rows}
