"""Lists on their way to runs. A chunk is locked while its runs are admitted, so several schedulers share one list."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection, Record
from penstock.domain.lineage import Lineage
from penstock.domain.states import FINAL_STATES
from penstock_scheduler.runs import Chunk, Position, StoredList


@dataclass(frozen=True, slots=True)
class FinishedList:
    """A list all of whose runs have ended, with how many of them ended how."""

    id: UUID
    environment: str
    workflow: str
    total: int
    succeeded: int
    failed: int
    skipped: int
    cancelled: int
    terminated: int


def _from_row(row: Record) -> StoredList:
    return StoredList(
        id=row["id"],
        environment=row["environment"],
        workflow=row["workflow"],
        lineage=Lineage(row["claimed_depth"], row["claimed_chain_id"], row["parent_run_id"]),
        priority=row["priority"],
        start_at=row["start_at"],
        interval_seconds=row["interval_seconds"],
    )


async def claim_chunk(conn: Connection) -> Chunk | None:
    """Lock a chunk that awaits expansion, the lists taking turns; skips chunks that another scheduler expands."""
    row = await conn.fetchrow(
        """
        SELECT l.id, l.environment, l.workflow, l.parent_run_id, l.claimed_depth, l.claimed_chain_id, l.priority,
               l.start_at,
               l.interval_seconds, c.first_index, c.parameters
        FROM penstock.lists l
        JOIN penstock.list_chunks c ON c.list_id = l.id
        WHERE l.state = 'expanding' AND NOT l.is_sequential AND c.expanded_at IS NULL
        ORDER BY c.first_index, l.created_at, l.id
        LIMIT 1
        FOR UPDATE OF c SKIP LOCKED
        """
    )
    return None if row is None else Chunk(_from_row(row), row["first_index"], row["parameters"])


async def finish_chunk(conn: Connection, *, list_id: UUID, first_index: int) -> None:
    """Note that all runs of a chunk have been admitted; in the transaction that admitted them."""
    await conn.execute(
        "UPDATE penstock.list_chunks SET expanded_at = clock_timestamp() WHERE list_id = $1 AND first_index = $2 AND "
        "expanded_at IS NULL",
        list_id,
        first_index,
    )


async def list_positions(conn: Connection) -> list[Position]:
    """Where each sequential list stands that still has items, and whose next item is due. Those of a stopped chain stay
    where they are, so that a resume continues one by one.
    """
    rows = await conn.fetch(
        """
        SELECT l.id, c.first_index, c.next_offset
        FROM penstock.lists l
        CROSS JOIN LATERAL (
            SELECT c.first_index, c.next_offset FROM penstock.list_chunks c
            WHERE c.list_id = l.id AND c.expanded_at IS NULL
            ORDER BY c.first_index
            LIMIT 1
        ) c
        WHERE l.state = 'expanding' AND l.is_sequential
          AND l.start_at + make_interval(secs => (c.first_index + c.next_offset) * l.interval_seconds)
              <= clock_timestamp()
          AND NOT EXISTS (
              SELECT FROM penstock.chains h
              WHERE h.id = coalesce((SELECT p.chain_id FROM penstock.runs p WHERE p.id = l.parent_run_id),
                                    l.claimed_chain_id)
                AND h.stopped_at IS NOT NULL
          )
        ORDER BY l.created_at
        LIMIT 1000
        """
    )
    return [Position(*row) for row in rows]


async def list_ended(conn: Connection, *, run_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the runs that have ended."""
    rows = await conn.fetch(
        "SELECT id FROM penstock.runs WHERE id = ANY($1::uuid[]) AND state = ANY($2::text[])",
        run_ids,
        [state.value for state in FINAL_STATES],
    )
    return {row["id"] for row in rows}


async def claim_item(conn: Connection, *, position: Position) -> Chunk | None:
    """Lock the chunk, return it with one item, and move on; None when another scheduler has done so or holds it."""
    row = await conn.fetchrow(
        """
        WITH held AS (
            SELECT c.list_id, c.first_index FROM penstock.list_chunks c
            WHERE c.list_id = $1 AND c.first_index = $2 AND c.next_offset = $3::int AND c.expanded_at IS NULL
            FOR UPDATE SKIP LOCKED
        )
        UPDATE penstock.list_chunks c
        SET next_offset = c.next_offset + 1,
            expanded_at = CASE WHEN c.next_offset + 1 >= jsonb_array_length(c.parameters) THEN clock_timestamp() END
        FROM held h, penstock.lists l
        WHERE c.list_id = h.list_id AND c.first_index = h.first_index AND l.id = h.list_id AND l.state = 'expanding'
        RETURNING l.id, l.environment, l.workflow, l.parent_run_id, l.claimed_depth, l.claimed_chain_id, l.priority,
            l.start_at,
                  l.interval_seconds, c.parameters -> $3::int AS item
        """,
        position.list_id,
        position.first_index,
        position.next_offset,
    )
    return None if row is None else Chunk(_from_row(row), position.index, [row["item"]])


async def fail_list(conn: Connection, *, list_id: UUID, error: JsonValue) -> bool:
    """Give a list up; the runs it has made already continue. False when it was not being expanded any more."""
    status = await conn.execute(
        """
        UPDATE penstock.lists SET state = 'failed', error = $2, finished_at = clock_timestamp()
        WHERE id = $1 AND state = 'expanding'
        """,
        list_id,
        error,
    )
    return status != "UPDATE 0"


async def close_expanded_lists(conn: Connection) -> int:
    """Note lists without chunks left. Not in the chunks' transactions: the last two, side by side, do not see each
    other.
    """
    rows = await conn.fetch(
        """
        UPDATE penstock.lists l SET state = 'expanded'
        WHERE l.state = 'expanding'
          AND NOT EXISTS (SELECT FROM penstock.list_chunks c WHERE c.list_id = l.id AND c.expanded_at IS NULL)
        RETURNING l.id
        """
    )
    return len(rows)


async def finish_lists(conn: Connection) -> list[FinishedList]:
    """Finish expanded lists whose runs have all ended, each once; skips those that others hold. To be called in a
    transaction.

    The runs are looked at again behind the lock: a resume may have made some of them live since.
    """
    held = await conn.fetch(
        """
        SELECT l.id
        FROM penstock.lists l
        WHERE l.state = 'expanded'
          AND NOT EXISTS (
              SELECT FROM penstock.runs r
              WHERE r.list_id = l.id AND r.state IN ('scheduled', 'queued', 'running', 'waiting')
          )
        ORDER BY l.created_at
        LIMIT 100
        FOR UPDATE SKIP LOCKED
        """
    )
    if not held:
        return []
    rows = await conn.fetch(
        """
        UPDATE penstock.lists l SET state = 'finished', finished_at = clock_timestamp()
        FROM unnest($1::uuid[]) AS q (id)
        CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE r.state = 'succeeded') AS succeeded,
                   count(*) FILTER (WHERE r.state = 'failed') AS failed,
                   count(*) FILTER (WHERE r.state = 'skipped') AS skipped,
                   count(*) FILTER (WHERE r.state = 'cancelled') AS cancelled,
                   count(*) FILTER (WHERE r.state = 'terminated') AS terminated,
                   count(*) FILTER (WHERE r.finished_at IS NULL) AS live
            FROM penstock.runs r WHERE r.list_id = q.id
            OFFSET 0
        ) n
        WHERE l.id = q.id AND l.state = 'expanded' AND n.live = 0
        RETURNING l.id, l.environment, l.workflow, l.total,
                  n.succeeded, n.failed, n.skipped, n.cancelled, n.terminated
        """,
        [row["id"] for row in held],
    )
    return [FinishedList(*row) for row in rows]


async def find_list_state(conn: Connection, *, list_id: UUID) -> str | None:
    """The state of a list; None when there is no such list."""
    state: str | None = await conn.fetchval("SELECT state FROM penstock.lists WHERE id = $1", list_id)
    return state
