"""Runs by what they were scheduled for: the workflow and the author's key of a `schedule` step.

The first run under a key has an id that derives from it. One that is scheduled under the same key later (the first was
cancelled, or its 24 hours were over) has an id of its own, which is noted in `penstock.keyed_runs` in the transaction
that binds the key.
"""

from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

from penstock.db import Connection
from penstock.domain.ids import keyed_run_id

AUTHOR_KEY_SCOPE: Final = "step"
_ON_ITS_WAY: Final = timedelta(minutes=1)
"""For so long after its key was bound a run may still be on its way to a scheduler."""
_KEPT_FOR: Final = timedelta(days=400)


class KeyedRuns(NamedTuple):
    """The runs that have not ended, and whether another one is on its way."""

    live: list[UUID]
    is_more_expected: bool


async def find_keyed_runs(conn: Connection, *, environment: str, workflow: str, key: str) -> KeyedRuns:
    """What `schedule` steps have scheduled under this key, as far as it has not ended."""
    first = keyed_run_id(environment, workflow, key)
    rows = await conn.fetch(
        """
        WITH known AS MATERIALIZED (
            SELECT $2::uuid AS id
            UNION SELECT n.run_id FROM penstock.keyed_runs n WHERE n.first_id = $2
        )
        SELECT r.id, false AS is_expected
        FROM known k
        CROSS JOIN LATERAL (
            SELECT r.id FROM penstock.runs r
            WHERE r.id = k.id AND r.environment = $1 AND r.workflow || '' = $3 AND r.finished_at IS NULL OFFSET 0
        ) r
        UNION ALL
        SELECT b.run_id, true FROM penstock.idempotency_keys b
        WHERE b.environment = $1 AND b.scope = $4 AND b.key = $2::text
          AND b.created_at > clock_timestamp() - $5::interval
          AND NOT EXISTS (SELECT FROM penstock.runs r WHERE r.id = b.run_id)
        """,
        environment,
        first,
        workflow,
        AUTHOR_KEY_SCOPE,
        _ON_ITS_WAY,
    )
    return KeyedRuns([row["id"] for row in rows if not row["is_expected"]], any(row["is_expected"] for row in rows))


async def forget_keyed_runs(conn: Connection, *, most: int) -> int:
    """Forget notes of more than 400 days ago, beyond which nothing is scheduled by a key; how many."""
    status = await conn.execute(
        """
        DELETE FROM penstock.keyed_runs
        WHERE run_id = ANY(ARRAY(
            SELECT n.run_id FROM penstock.keyed_runs n
            WHERE n.created_at < statement_timestamp() - $1::interval
            ORDER BY n.created_at
            LIMIT $2
        ))
        """,
        _KEPT_FOR,
        most,
    )
    return int(status.split()[-1])
