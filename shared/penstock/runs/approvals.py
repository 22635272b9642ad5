"""SQL: what a link of `wait_for` leads to, and the answer that ends the wait, once."""

from enum import Enum
from typing import NamedTuple

from pydantic import JsonValue

from penstock.db import Connection, Record
from penstock.domain.approval_links import LinkTarget
from penstock.domain.runs import RunSummary
from penstock.runs.waits_and_signals import wake_runs


class LinkState(Enum):
    """What becomes of somebody who follows a link."""

    OPEN = "the run waits for the answer"
    EARLY = "the run has not come to that step yet"
    OVER = "it was answered, its time is over, or the run has ended"


class Asked(NamedTuple):
    """A link's state; while it is open, what the run waits for and the schema of the form."""

    state: LinkState
    name: str = ""
    schema: JsonValue = None


async def find_asked(conn: Connection, target: LinkTarget) -> Asked:
    """What a link leads to at this moment."""
    row = await conn.fetchrow(
        """
        SELECT r.finished_at, s.outcome, w.form, w.signal, r.state = 'waiting' AND w.form IS NOT NULL
                   AND coalesce(w.until > clock_timestamp(), true) AS is_open,
               w.run_id IS NOT NULL AS is_waiting
        FROM penstock.runs r
        LEFT JOIN penstock.waits w ON w.run_id = r.id AND w.step = $3
        LEFT JOIN penstock.steps s ON s.run_id = r.id AND s.step = $3
        WHERE r.id = $1 AND r.environment = $2
        """,
        target.run_id,
        target.environment,
        target.step,
    )
    return _judge(row)


async def answer_link(conn: Connection, target: LinkTarget, payload: JsonValue) -> list[RunSummary]:
    """The run, `queued`, with the payload as the result of its step; none when it does not wait for this any more.

    Of those who answer at the same time one succeeds. To be called in a transaction; the caller dispatches the run.
    """
    row = await conn.fetchrow(
        """
        SELECT r.id
        FROM penstock.waits w
        JOIN penstock.runs r ON r.id = w.run_id
        WHERE w.run_id = $1 AND w.step = $3 AND w.form IS NOT NULL AND w.environment = $2
          AND coalesce(w.until > clock_timestamp(), true) AND r.state || '' = 'waiting'
        FOR UPDATE OF r, w
        """,
        target.run_id,
        target.environment,
        target.step,
    )
    return [] if row is None else await wake_runs(conn, run_ids=[target.run_id], payload=payload)


def _judge(row: Record | None) -> Asked:
    if row is None or row["finished_at"] is not None or row["outcome"] in ("succeeded", "failed", "skipped"):
        return Asked(LinkState.OVER)
    if row["is_open"]:
        return Asked(LinkState.OPEN, row["signal"], row["form"]["schema"])
    return Asked(LinkState.OVER if row["is_waiting"] else LinkState.EARLY)
