"""Mail to the admins: each row is taken before it is sent, so that no crash and no race can send it twice."""

from datetime import timedelta

from penstock.db import Connection
from penstock_scheduler.runs import Notification


async def take_notification(conn: Connection) -> Notification | None:
    """Take one that is to be sent now; no other scheduler will. Returns it with whom to tell, and what is known of its
    run.
    """
    row = await conn.fetchrow(
        """
        WITH next AS (
            SELECT n.environment, n.kind, n.day FROM penstock.notifications n
            WHERE n.next_try_at <= clock_timestamp()
            ORDER BY n.next_try_at
            LIMIT 1
            FOR UPDATE SKIP LOCKED
        ), taken AS (
            UPDATE penstock.notifications n SET next_try_at = NULL, attempts = n.attempts + 1
            FROM next
            WHERE (n.environment, n.kind, n.day) = (next.environment, next.kind, next.day) AND n.next_try_at IS NOT NULL
            RETURNING n.environment, n.kind, n.day, n.attempts, n.details
        )
        SELECT t.environment, t.kind, t.day::text AS day, t.attempts, t.details, e.notification_addresses,
               r.workflow, r.depth, coalesce(r.depth_limit, e.depth_limit) AS depth_limit
        FROM taken t
        JOIN penstock.environments e ON e.name = t.environment
        LEFT JOIN penstock.runs r ON r.id = (t.details ->> 'run_id')::uuid
        """
    )
    if row is None:
        return None
    return Notification(
        environment=row["environment"],
        kind=row["kind"],
        day=row["day"],
        attempts=row["attempts"],
        details=row["details"],
        addresses=tuple(row["notification_addresses"]),
        workflow=row["workflow"],
        depth=row["depth"],
        depth_limit=row["depth_limit"],
    )


async def mark_sent(conn: Connection, *, notification: Notification) -> None:
    """Note that the mail server took it."""
    await conn.execute(
        "UPDATE penstock.notifications SET sent_at = clock_timestamp() WHERE (environment, kind, day) = ($1, $2, "
        "$3::text::date)",
        notification.environment,
        notification.kind,
        notification.day,
    )


async def give_back(conn: Connection, *, notification: Notification, after: timedelta) -> None:
    """Let it be tried again `after` from now: it certainly was not sent."""
    await conn.execute(
        """
        UPDATE penstock.notifications SET next_try_at = clock_timestamp() + $4
        WHERE (environment, kind, day) = ($1, $2, $3::text::date) AND sent_at IS NULL
        """,
        notification.environment,
        notification.kind,
        notification.day,
        after,
    )
