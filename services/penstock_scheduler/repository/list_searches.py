"""Searches of lists that are not at their end. One is locked while its next chunk is found."""

from dataclasses import dataclass
from uuid import UUID

from penstock.db import Connection
from penstock.runs.list_searches import ListSearch

MAX_AHEAD = 20_000
"""Items of one list that have been found and have not ended. So many keep executors busy while more are found."""


@dataclass(frozen=True, slots=True)
class OpenSearch:
    """A search, and how far it is: the next thing becomes item `next_index` of the list."""

    list_id: UUID
    environment: str
    workflow: str
    parent_run_id: UUID | None
    next_index: int
    search: ListSearch


async def claim_search(conn: Connection) -> OpenSearch | None:
    """Lock a search whose list needs more items, lists taking turns; skips those that another scheduler has in hand.
    Those of a stopped chain stay where they are.
    """
    row = await conn.fetchrow(
        """
        SELECT s.list_id, l.environment, l.workflow, l.parent_run_id, s.next_index, s.definition, s.after
        FROM penstock.list_searches s
        JOIN penstock.lists l ON l.id = s.list_id
        WHERE l.state = 'expanding'
          AND s.next_index - (l.succeeded + l.failed + l.skipped + l.cancelled + l.terminated + l.given_up) < $1
          AND NOT EXISTS (
              SELECT FROM penstock.chains h
              WHERE h.id = coalesce((SELECT p.chain_id FROM penstock.runs p WHERE p.id = l.parent_run_id),
                                    l.claimed_chain_id)
                AND h.stopped_at IS NOT NULL
          )
        ORDER BY s.looked_at
        LIMIT 1
        FOR UPDATE OF s SKIP LOCKED
        """,
        MAX_AHEAD,
    )
    if row is None:
        return None
    search = ListSearch.from_json({**row["definition"], "after": row["after"]})
    return OpenSearch(
        row["list_id"], row["environment"], row["workflow"], row["parent_run_id"], row["next_index"], search
    )


async def note_progress(conn: Connection, *, of: OpenSearch, found: int, after: str | None) -> None:
    """So many more things were found; with `after` None the search is at its end, and the list's total exact."""
    next_index = of.next_index + found
    if after is not None:
        await conn.execute(
            """
            UPDATE penstock.list_searches SET after = $2, next_index = $3, looked_at = clock_timestamp()
            WHERE list_id = $1
            """,
            of.list_id,
            after,
            next_index,
        )
    else:
        await conn.execute("DELETE FROM penstock.list_searches WHERE list_id = $1", of.list_id)
    await conn.execute(
        """
        UPDATE penstock.lists
        SET total = greatest(total, $2::int),
            passed_over = CASE WHEN $3::bool THEN greatest(total - $2::int, 0) ELSE 0 END
        WHERE id = $1 AND ($3::bool OR total < $2::int)
        """,
        of.list_id,
        next_index,
        after is None,
    )
