"""What keeps tables small and ready: partitions ahead of time, keys that have expired."""

from datetime import date, timedelta
from typing import Final

from penstock.db import Connection

_PARTITION_LOCK: Final = 0x50415254  # "PART": schedulers make partitions in turn


async def make_log_partition(conn: Connection, *, day: date) -> bool:
    """Make the log's partition for one UTC day; False when it exists, or the default one holds lines of that day.

    To be called in a transaction: it takes turns with other schedulers.
    """
    await conn.execute("SELECT pg_advisory_xact_lock($1)", _PARTITION_LOCK)
    # The server writes the statement: DDL takes no arguments.
    statement: str | None = await conn.fetchval(
        """
        SELECT format(
            'CREATE TABLE penstock.%I PARTITION OF penstock.logs FOR VALUES FROM (%L) TO (%L)',
            'logs_' || to_char($1::date, 'YYYYMMDD'), $1::date, $1::date + 1
        )
        WHERE to_regclass('penstock.logs_' || to_char($1::date, 'YYYYMMDD')) IS NULL
          AND NOT EXISTS (SELECT FROM penstock.logs_default WHERE at >= $1::date AND at < $1::date + 1)
        """,
        day,
    )
    if statement is None:
        return False
    await conn.execute(statement)
    return True


async def delete_expired_keys(conn: Connection, *, older_than: timedelta, most: int) -> int:
    """Forget idempotency keys that have expired, at most `most`; returns how many."""
    rows = await conn.fetch(
        """
        -- By their places, which a lock holds: the planner would read all keys to join them with these.
        DELETE FROM penstock.idempotency_keys
        WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM penstock.idempotency_keys
            WHERE created_at < statement_timestamp() - $1::interval
            ORDER BY created_at
            LIMIT $2
            FOR UPDATE SKIP LOCKED
        ))
        RETURNING true
        """,
        older_than,
        most,
    )
    return len(rows)
