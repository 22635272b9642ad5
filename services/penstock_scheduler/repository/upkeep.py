"""What keeps tables small: keys that have expired."""

from datetime import timedelta

from penstock.db import Connection


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
