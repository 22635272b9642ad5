"""SQL: the runs of a list that an operation is to deal with, found by their ids, which follow from the list's. So it
costs what the list is large, whatever else waits, runs or has failed.
"""

from typing import Final, NamedTuple
from uuid import UUID

from penstock.db import Connection
from penstock.domain.ids import child_run_id
from penstock.domain.states import RunState

WINDOW: Final = 5000
"""Items that one turn looks at."""
LIVE: Final = (RunState.SCHEDULED, RunState.QUEUED, RunState.RUNNING, RunState.WAITING)


class Items(NamedTuple):
    """The runs found, the number of the item that is looked at next, and whether there is none."""

    run_ids: list[UUID]
    position: int
    is_last: bool


async def count_items(conn: Connection, *, list_id: UUID, is_retry: bool) -> int:
    """How many items of a list have failed, or have not ended."""
    count: int | None = await conn.fetchval(
        """
        SELECT CASE WHEN $2 THEN l.failed ELSE greatest(0, l.total - l.succeeded - l.failed - l.skipped - l.cancelled
               - l.terminated - l.given_up - l.passed_over) END
        FROM penstock.lists l WHERE l.id = $1
        """,
        list_id,
        is_retry,
    )
    return count or 0


async def find_items(
    conn: Connection, *, environment: str, list_id: UUID, is_retry: bool, position: int, most: int
) -> Items:
    """The next runs of a list, at most `most`, that have failed, or have not ended."""
    total = await conn.fetchval("SELECT l.total FROM penstock.lists l WHERE l.id = $1", list_id) or 0
    end = min(position + WINDOW, total)
    rows = await conn.fetch(
        """
        SELECT r.id, q.place FROM unnest($1::uuid[]) WITH ORDINALITY AS q (id, place)
        CROSS JOIN LATERAL (
            SELECT r.id, r.environment, r.state FROM penstock.runs r WHERE r.id = q.id OFFSET 0
        ) r
        WHERE r.environment = $2 AND r.state || '' = ANY($3::text[])
        ORDER BY q.place
        LIMIT $4
        """,
        [child_run_id(list_id, str(index)) for index in range(position, end)],
        environment,
        [RunState.FAILED] if is_retry else LIVE,
        most,
    )
    reached = position + rows[-1]["place"] if len(rows) == most else end
    return Items([row["id"] for row in rows], reached, reached >= total)
