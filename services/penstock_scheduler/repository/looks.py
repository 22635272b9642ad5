"""One look at all that may wait for a scheduler: one statement asks what each loop would ask, again and again, of
tables that are mostly empty. It locks nothing, and says only which loops have to look for themselves.
"""

from datetime import timedelta
from typing import Final

from penstock.db import Connection, Record
from penstock_scheduler.repository.leases import FRONT


async def look_for_written(conn: Connection) -> list[str]:
    """What others have left to be taken at once: the names of the nudges for which there is something."""
    return _list_found(await conn.fetchrow(LOOK_FOR_WRITTEN))


LOOK_FOR_WRITTEN: Final = """
    SELECT EXISTS (SELECT FROM penstock.changes) AS changes,
           EXISTS (SELECT FROM penstock.run_ends) AS run_ends,
           EXISTS (SELECT FROM penstock.ends)
               OR EXISTS (SELECT FROM penstock.joins j WHERE NOT j.is_known) AS ends,
           EXISTS (SELECT FROM penstock.list_searches) AS feed,
           EXISTS (
               SELECT FROM penstock.lists l WHERE l.state = 'expanding' AND l.is_sequential AND l.is_ready
           ) AS sequential
    """


async def look_for_due(conn: Connection, *, within: timedelta) -> list[str]:
    """What is due now, or `within` so long, and what is to be done at leisure: the names of the nudges."""
    return _list_found(await conn.fetchrow(LOOK_FOR_DUE, within))


# The first of each that is due, by an order, so that its index is read from its beginning: of `EXISTS (… due_at <= …)`
# the planner believes that a third of all rows will do, and reads the whole table when none is due.
LOOK_FOR_DUE: Final = f"""
    SELECT coalesce((
               SELECT r.scheduled_at <= statement_timestamp() + $1::interval FROM penstock.runs r
               WHERE r.indexed_state || '' = 'scheduled' AND r.parked_at IS NULL AND r.crowd IS NULL
               ORDER BY r.scheduled_at LIMIT 1
           ), false) AS dispatch,
           EXISTS (
               SELECT FROM penstock.runs r
               WHERE r.indexed_state || '' = 'scheduled' AND r.parked_at IS NULL AND r.crowd IS NOT NULL
           ) AS crowds,
           coalesce((
               SELECT r.dispatched_at < statement_timestamp() - interval '1 second' FROM penstock.runs r
               WHERE r.finished_at IS NULL AND r.indexed_state IS NULL AND r.state = 'queued'
               ORDER BY r.dispatched_at LIMIT 1
           ), false) OR EXISTS (
               SELECT FROM penstock.runs r
               WHERE r.finished_at IS NULL AND r.indexed_state IS NULL AND r.state = 'queued'
                 AND r.dispatched_at IS NULL
           ) AS redispatch,
           EXISTS (
               SELECT FROM (
                   SELECT r.state, r.lease_expires_at FROM penstock.runs r
                   WHERE r.finished_at IS NULL AND r.indexed_state IS NULL
                   ORDER BY r.dispatched_at LIMIT {FRONT}
               ) h
               WHERE h.state = 'running' AND h.lease_expires_at < statement_timestamp()
           ) AS leases,
           coalesce((
               SELECT w.until <= statement_timestamp() + $1::interval FROM penstock.waits w
               WHERE w.until IS NOT NULL AND w.parked_at IS NULL ORDER BY w.until LIMIT 1
           ), false) AS waits,
           coalesce((
               SELECT t.due_at <= statement_timestamp() + $1::interval FROM penstock.turns t ORDER BY t.due_at LIMIT 1
           ), false) AS turns,
           EXISTS (SELECT FROM penstock.places p WHERE p.waits_since IS NOT NULL) AS sweep,
           coalesce((
               SELECT c.due_at <= statement_timestamp() + $1::interval FROM penstock.recurrences c
               WHERE c.due_at IS NOT NULL AND c.parked_at IS NULL ORDER BY c.due_at LIMIT 1
           ), false) AS tick,
           EXISTS (
               SELECT FROM penstock.recurrences c WHERE c.pause_after_failures IS NOT NULL AND c.paused_at IS NULL
           ) AS failing,
           EXISTS (SELECT FROM penstock.lists l WHERE l.state = 'expanding') AS expand,
           EXISTS (SELECT FROM penstock.lists l WHERE l.state = 'expanded') AS finish,
           EXISTS (SELECT FROM penstock.lists l WHERE l.follower_state = 'due') AS followers,
           EXISTS (SELECT FROM penstock.pauses) AS pauses,
           EXISTS (SELECT FROM penstock.operations o WHERE o.state = 'running') AS operations,
           EXISTS (
               SELECT FROM penstock.dead_letters d WHERE d.publish_at <= statement_timestamp()
           ) AS retried,
           EXISTS (SELECT FROM penstock.notices) AS notices,
           EXISTS (
               SELECT FROM penstock.notice_deliveries d
               WHERE d.channel = 'email' AND d.next_try_at <= statement_timestamp()
           ) AS email,
           EXISTS (
               SELECT FROM penstock.notice_deliveries d
               WHERE d.channel = 'webhook' AND d.next_try_at <= statement_timestamp()
           ) AS webhook,
           EXISTS (
               SELECT FROM penstock.notice_deliveries d
               WHERE d.channel = 'slack' AND d.next_try_at <= statement_timestamp()
           ) AS slack
    """


def _list_found(row: Record | None) -> list[str]:
    assert row is not None, "a statement without a table has a row"
    return [name for name, is_there in row.items() if is_there]
