"""Tables that are divided by day, and rows that go by their age alone."""

from datetime import date
from enum import StrEnum
from typing import Final

from penstock.db import Connection

_PARTITION_LOCK: Final = 0x50415254  # "PART": schedulers make and drop partitions in turn


class ByDay(StrEnum):
    """A table with a partition for each UTC day."""

    LOGS = "logs"
    DELIVERIES = "deliveries"


async def make_partition(conn: Connection, *, table: ByDay, day: date) -> bool:
    """Make a table's partition for one UTC day; False when there is one, or the default one holds rows of that day.

    To be called in a transaction: it takes turns with other schedulers.
    """
    await conn.execute("SELECT pg_advisory_xact_lock($1)", _PARTITION_LOCK)
    if await conn.fetchval(_HOLDS[table], day):
        return False
    # The server writes the statement: DDL takes no arguments.
    statement: str | None = await conn.fetchval(
        """
        SELECT format(
            'CREATE TABLE penstock.%I PARTITION OF penstock.%I %s FOR VALUES FROM (%L) TO (%L)',
            q.name, $1::text, $3::text, $2::date, $2::date + 1
        )
        FROM (SELECT $1::text || to_char($2::date, '_YYYYMMDD') AS name) q
        WHERE to_regclass('penstock.' || q.name) IS NULL
        """,
        table.value,
        day,
        "(PRIMARY KEY (id))" if table is ByDay.DELIVERIES else "",
    )
    if statement is None:
        return False
    await conn.execute(statement)
    return True


_HOLDS: Final = {
    ByDay.LOGS: "SELECT EXISTS (SELECT FROM penstock.logs_default WHERE at >= $1::date AND at < $1::date + 1)",
    ByDay.DELIVERIES: """
        SELECT EXISTS (
            SELECT FROM penstock.deliveries_default WHERE received_at >= $1::date AND received_at < $1::date + 1
        )
    """,
}


async def list_old_partitions(conn: Connection, *, table: ByDay) -> list[tuple[str, int]]:
    """The partitions that end before everything that any environment keeps, the oldest first, with about how many rows
    each has.
    """
    rows = await conn.fetch(
        """
        SELECT q.name, greatest(q.rows, 0)::bigint AS rows FROM (
            SELECT c.relname::text AS name, c.reltuples AS rows,
                   substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \\(''([^'']+)''\\)')::timestamptz AS ends_at
            FROM pg_inherits i
            JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = ('penstock.' || $1)::regclass
        ) q
        WHERE q.ends_at < clock_timestamp() - (SELECT max(e.retention::interval) FROM penstock.environments e)
        ORDER BY q.ends_at
        """,
        table.value,
    )
    return [(row["name"], row["rows"]) for row in rows]


async def drop_partition(conn: Connection, *, name: str) -> bool:
    """Drop a partition; False when another scheduler has done so. To be called in a transaction.

    Gives up after 200 ms (as a conflict) where somebody reads the table for longer: everyone else would wait behind us.
    """
    await conn.execute("SELECT pg_advisory_xact_lock($1)", _PARTITION_LOCK)
    statement: str | None = await conn.fetchval(
        """
        SELECT format('DROP TABLE penstock.%I', c.relname)
        FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid
        WHERE c.oid = to_regclass('penstock.' || $1)
        """,
        name,
    )
    if statement is None:
        return False
    await conn.execute("SELECT set_config('lock_timeout', '200ms', true)")
    await conn.execute(statement)
    return True


async def delete_lines(conn: Connection, *, environment: str, most: int) -> int:
    """Delete the oldest log lines of an environment that it does not keep, about `most`; how many."""
    return _count(await conn.execute(_DELETE_LINES, environment, most))


_DELETE_LINES: Final = """
    WITH old AS MATERIALIZED (
        SELECT clock_timestamp() - e.retention::interval AS cutoff FROM penstock.environments e WHERE e.name = $1
    )
    DELETE FROM penstock.logs l
    WHERE l.environment = $1
      AND l.at < (
          SELECT coalesce(
              (SELECT n.at FROM penstock.logs n WHERE n.environment = $1 AND n.at < o.cutoff
               ORDER BY n.at OFFSET $2 LIMIT 1), o.cutoff)
          FROM old o
      )
    """


async def delete_deliveries(conn: Connection, *, environment: str, most: int) -> tuple[int, bool]:
    """Delete the deliveries of an environment that it does not keep, among the next `most` of all; how many, and
    whether there may be more. Each delivery is looked at once, however many others stay.
    """
    row = await conn.fetchrow(_DELETE_DELIVERIES, environment, most)
    return (0, False) if row is None else (row["deleted"], row["is_more"])


_DELETE_DELIVERIES: Final = """
    WITH stretch AS MATERIALIZED (
        SELECT t.deliveries_reached_at AS since, n.received_at IS NOT NULL AS is_more,
               CASE WHEN n.received_at IS NULL THEN o.cutoff
                    ELSE greatest(n.received_at, t.deliveries_reached_at + interval '1 microsecond') END AS until
        FROM penstock.retention t
        JOIN penstock.environments e ON e.name = t.environment
        CROSS JOIN LATERAL (SELECT clock_timestamp() - e.retention::interval AS cutoff) o
        LEFT JOIN LATERAL (
            SELECT d.received_at FROM penstock.deliveries d
            WHERE d.received_at >= t.deliveries_reached_at AND d.received_at < o.cutoff
            ORDER BY d.received_at OFFSET $2 LIMIT 1
        ) n ON true
        WHERE t.environment = $1 AND t.deliveries_reached_at < o.cutoff
        FOR UPDATE OF t SKIP LOCKED
    ), moved AS (
        UPDATE penstock.retention SET deliveries_reached_at = (SELECT s.until FROM stretch s)
        WHERE environment = $1 AND EXISTS (SELECT FROM stretch)
    ), gone AS (
        DELETE FROM penstock.deliveries
        WHERE environment = $1 AND received_at >= (SELECT s.since FROM stretch s)
          AND received_at < (SELECT s.until FROM stretch s)
        RETURNING id
    )
    SELECT (SELECT count(*) FROM gone) AS deleted, s.is_more FROM stretch s
    """


async def delete_delivery_keys(conn: Connection, *, most: int) -> int:
    """Forget keys of deliveries whose time is over, at most `most`; how many."""
    status = await conn.execute(
        """
        DELETE FROM penstock.delivery_keys
        WHERE ctid = ANY(ARRAY(
            SELECT k.ctid FROM penstock.delivery_keys k
            WHERE k.unique_until < statement_timestamp()
            ORDER BY k.unique_until
            LIMIT $1
            FOR UPDATE SKIP LOCKED
        ))
        """,
        most,
    )
    return _count(status)


async def delete_old_acts(conn: Connection, *, most: int) -> int:
    """Delete entries of the audit that are older than ACTS_KEPT, at most `most`; how many."""
    deleted: int = await conn.fetchval("SELECT penstock.delete_old_acts($1)", most)
    return deleted


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])
