"""Lists of runs to be scheduled: stored whole in one transaction, so that nothing of an accepted list can be lost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock import exact_json
from penstock.db import Connection
from penstock.domain.lineage import OUTSIDE, Lineage
from penstock.runs.followers import Follower
from penstock.runs.list_searches import ListSearch

CHUNK_SIZE: Final = 1000
"""Runs admitted per transaction while a list is expanded."""


@dataclass(frozen=True, slots=True)
class ListRequest:
    """A list that is asked for. Its runs get the depth of the parent + 1 (or what it claims), all of them the same.

    Item i is due at `start_at` + i × `interval_seconds`; a sequential list starts each when the one before has ended.
    `start_at` may be so long from now, by the database's clock. `follower` starts when all have ended.
    With a `search`, the parameters that are stored with the list are those of its first chunk, and `total` is how many
    things were counted. `digest` is that of a request that may come again.
    """

    id: UUID
    environment: str
    workflow: str
    start_at: datetime | timedelta
    interval_seconds: float = 0.0
    is_sequential: bool = False
    lineage: Lineage = OUTSIDE
    priority: int | None = None
    follower: Follower | None = None
    search: ListSearch | None = None
    total: int = 0
    digest: bytes | None = None


async def reopen_lists(conn: Connection, *, list_ids: Iterable[UUID | None]) -> None:
    """Open finished lists again, runs of which this transaction has made live: each is finished, and announced, once
    more when they have ended. None and ids that occur several times are passed over.

    To be called behind the change of the runs. Whoever finishes a list looks at its runs behind the lock of its row.
    """
    wanted = {list_id for list_id in list_ids if list_id is not None}
    if wanted:
        # Not within the next statement, which may be planned to look for finished lists first, and then locks none.
        await conn.execute(
            "SELECT l.id FROM penstock.lists l WHERE l.id = ANY($1::uuid[]) ORDER BY l.id FOR NO KEY UPDATE",
            list(wanted),
        )
        await conn.execute(
            """
            UPDATE penstock.lists l SET state = 'expanded', finished_at = NULL
            WHERE l.id = ANY($1::uuid[]) AND l.state = 'finished'
            """,
            list(wanted),
        )


async def insert_list(conn: Connection, *, request: ListRequest, parameters: Sequence[dict[str, JsonValue]]) -> bool:
    """Store a list and the parameters of each of its runs; False, changing nothing, when that list is stored
    already.
    """
    inserted = await conn.fetchval(
        """
        INSERT INTO penstock.lists (
            id, environment, workflow, parent_run_id, claimed_depth, claimed_chain_id, priority, total,
            is_sequential, start_at, interval_seconds, follower, follower_state,
            request_digest
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, coalesce($10, clock_timestamp() + $12), $11, $13,
                CASE WHEN $13::jsonb IS NOT NULL THEN 'waiting' END, $14)
        ON CONFLICT (id) DO NOTHING
        RETURNING true
        """,
        request.id,
        request.environment,
        request.workflow,
        request.lineage.parent_run_id,
        request.lineage.depth,
        request.lineage.chain_id,
        request.priority,
        max(len(parameters), request.total),
        request.is_sequential,
        None if isinstance(request.start_at, timedelta) else request.start_at,
        request.interval_seconds,
        request.start_at if isinstance(request.start_at, timedelta) else None,
        None if request.follower is None else request.follower.to_json(),
        request.digest,
    )
    if not inserted:
        return False
    await store_chunks(conn, list_id=request.id, first_index=0, parameters=parameters)
    if request.search is not None:
        await conn.execute(
            "INSERT INTO penstock.list_searches (list_id, definition, after, next_index) VALUES ($1, $2, $3, $4)",
            request.id,
            request.search.to_json(),
            request.search.after,
            len(parameters),
        )
    return True


async def store_chunks(
    conn: Connection, *, list_id: UUID, first_index: int, parameters: Sequence[dict[str, JsonValue]]
) -> None:
    """Store the parameters of a list's runs, of which the first is item `first_index`."""
    firsts = range(0, len(parameters), CHUNK_SIZE)
    await conn.execute(
        """
        INSERT INTO penstock.list_chunks (list_id, first_index, parameters)
        SELECT $1, q.first_index, q.parameters::jsonb FROM unnest($2::int[], $3::text[]) AS q (first_index, parameters)
        """,
        list_id,
        [first_index + first for first in firsts],
        [exact_json.dumps_storable(list(parameters[first : first + CHUNK_SIZE])).decode() for first in firsts],
    )


async def find_digest(conn: Connection, *, list_id: UUID) -> bytes | None:
    """The digest of the request that has begun a list; None when there is no such list."""
    digest: bytes | None = await conn.fetchval("SELECT l.request_digest FROM penstock.lists l WHERE l.id = $1", list_id)
    return digest
