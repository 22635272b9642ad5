"""SQL of marks: texts that change whenever there is something new to show. One statement serves all who watch."""

from typing import Final, Literal

from penstock.db import Connection

Topic = Literal["runs", "logs", "schedule", "steering"]
TOPICS: Final[tuple[Topic, ...]] = ("runs", "logs", "schedule", "steering")
Marks = dict[Topic, str]


async def find_marks(conn: Connection, *, environment: str) -> Marks:
    """A mark for each topic; each is found at one end of an index.

    `runs`: runs came, began, waited or ended, or renewed their leases; `logs`: a line was written; `schedule`: what is
    coming; `steering`: somebody has steered something. Runs and what is coming count in both environments.
    """
    row = await conn.fetchrow(
        """
        SELECT newest.mark AS newest, line.mark AS line, running.mark AS running, waiting.mark AS waiting,
               scheduled.mark AS scheduled, tick.mark AS tick, act.mark AS act
        FROM (SELECT (SELECT r.created_at::text || r.id FROM penstock.runs r
                      WHERE r.created_at > '-infinity' ORDER BY r.created_at DESC LIMIT 1) AS mark) newest,
             (SELECT (SELECT l.at::text || l.id FROM penstock.logs l
                      WHERE l.environment = $1 AND l.at > statement_timestamp() - interval '1 hour'
                      ORDER BY l.at DESC LIMIT 1) AS mark) line,
             (SELECT count(q.lease_expires_at) || ' ' || coalesce(max(q.lease_expires_at)::text, '') AS mark
              FROM (SELECT r.lease_expires_at FROM penstock.runs r
                    WHERE r.finished_at IS NULL AND r.indexed_state IS NULL
                    ORDER BY r.dispatched_at LIMIT 100) q) running,
             (SELECT count(*)::text AS mark FROM (SELECT FROM penstock.waits w LIMIT 500) q) waiting,
             (SELECT count(*) || ' ' || coalesce(max(q.scheduled_at)::text, '') AS mark
              FROM (SELECT r.scheduled_at FROM penstock.runs r WHERE r.indexed_state = 'scheduled'
                    ORDER BY r.scheduled_at LIMIT 100) q) scheduled,
             (SELECT (SELECT c.due_at::text || c.id FROM penstock.recurrences c
                      WHERE c.due_at IS NOT NULL AND c.parked_at IS NULL ORDER BY c.due_at LIMIT 1) AS mark) tick,
             (SELECT (SELECT a.id::text FROM penstock.audit a
                      WHERE a.environment = $1 ORDER BY a.at DESC, a.id DESC LIMIT 1) AS mark) act
        """,
        environment,
    )
    assert row is not None, "a row of marks, even of empty tables"
    return {
        "runs": f"{row['newest']} {row['line']} {row['running']} {row['waiting']}",
        "logs": f"{row['line']}",
        "schedule": f"{row['scheduled']} {row['tick']} {row['act']} {row['waiting']}",
        "steering": f"{row['act']}",
    }
