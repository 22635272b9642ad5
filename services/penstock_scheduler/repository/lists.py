"""Lists on their way to runs. A chunk is locked while its runs are admitted, so several schedulers share one list."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection, Record
from penstock.domain.lineage import Lineage
from penstock_scheduler.runs import Chunk, Position, StoredList

MAX_LINES: Final = 10_000
"""Sequential lists whose lines are looked at in one turn."""
MAX_DUE: Final = 5000
"""Due runs that lists may have, all together, before no more of their items become runs."""
MIN_DUE: Final = 500
"""That each of them may have, however many there are."""
_MAX_LISTS: Final = 100
"""Lists looked at for a chunk: those that are least far."""


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
    has_follower: bool


def _from_row(row: Record) -> StoredList:
    return StoredList(
        id=row["id"],
        environment=row["environment"],
        workflow=row["workflow"],
        lineage=Lineage(row["claimed_depth"], row["claimed_chain_id"], row["parent_run_id"]),
        priority=row["priority"],
        start_at=row["start_at"],
        interval_seconds=row["interval_seconds"],
        is_sequential=row["is_sequential"],
    )


_CLAIM_CHUNK: Final = """
    WITH heads AS MATERIALIZED (
        SELECT l.id, c.first_index - l.succeeded - l.failed - l.skipped - l.cancelled - l.terminated AS not_ended
        FROM penstock.lists l
        CROSS JOIN LATERAL (
            SELECT c.first_index FROM penstock.list_chunks c
            WHERE c.list_id = l.id AND c.expanded_at IS NULL ORDER BY c.first_index LIMIT 1 OFFSET 0
        ) c
        WHERE l.state = 'expanding' AND NOT l.is_sequential
        ORDER BY c.first_index, l.created_at, l.id LIMIT $1
    ), share AS MATERIALIZED (
        SELECT greatest($2 / greatest(count(*), 1), $3)::int AS runs FROM heads
    ), hungry AS MATERIALIZED (
        SELECT h.id FROM heads h CROSS JOIN share s
        WHERE h.not_ended < s.runs
           OR (SELECT count(*) FROM (
                   SELECT FROM penstock.runs r
                   WHERE r.indexed_state || '' = 'scheduled' AND r.parked_at IS NULL AND r.crowd = h.id
                     AND r.scheduled_at <= statement_timestamp()
                   LIMIT s.runs
               ) w) < s.runs
    )
    SELECT l.id, l.environment, l.workflow, l.parent_run_id, l.claimed_depth, l.claimed_chain_id, l.priority,
           l.start_at,
           l.interval_seconds, l.is_sequential, c.first_index, c.parameters
    FROM penstock.lists l
    JOIN penstock.list_chunks c ON c.list_id = l.id
    WHERE l.id = ANY(ARRAY(SELECT h.id FROM hungry h)) AND l.state = 'expanding' AND c.expanded_at IS NULL
    ORDER BY c.first_index, l.created_at, l.id
    LIMIT 1
    FOR UPDATE OF c SKIP LOCKED
    """
"""Due runs of a list that wait to be handed over are counted only where that many of its runs have not ended."""


async def claim_chunk(conn: Connection) -> Chunk | None:
    """Lock a chunk that awaits expansion, the lists taking turns; skips chunks that another scheduler expands, and
    lists of which thousands of due runs wait for executors.
    """
    row = await conn.fetchrow(_CLAIM_CHUNK, _MAX_LISTS, MAX_DUE, MIN_DUE)
    return None if row is None else Chunk(_from_row(row), row["first_index"], row["parameters"])


async def finish_chunk(conn: Connection, *, list_id: UUID, first_index: int) -> None:
    """Note that all runs of a chunk have been admitted; in the transaction that admitted them."""
    await conn.execute(
        "UPDATE penstock.list_chunks SET expanded_at = clock_timestamp() WHERE list_id = $1 AND first_index = $2 AND "
        "expanded_at IS NULL",
        list_id,
        first_index,
    )


async def has_earlier_chunk(conn: Connection, *, list_id: UUID, first_index: int) -> bool:
    """Whether a chunk of the list before this one is not expanded yet, or not committed."""
    found: bool = await conn.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM penstock.list_chunks c
            WHERE c.list_id = $1 AND c.first_index < $2 AND c.expanded_at IS NULL
        )
        """,
        list_id,
        first_index,
    )
    return found


async def list_positions(conn: Connection) -> list[Position]:
    """Where each sequential list stands that still has items, none of which is under way or waits to be taken up again,
    and whose next item is due. Those of a stopped chain stay where they are, so that a resume continues one by one.
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
        WHERE l.state = 'expanding' AND l.is_sequential AND l.is_ready
          AND l.start_at + make_interval(secs => (c.first_index + c.next_offset) * l.interval_seconds)
              <= clock_timestamp()
          AND NOT EXISTS (SELECT FROM penstock.ends e WHERE e.list_id = l.id)
          AND NOT EXISTS (SELECT FROM penstock.runs r WHERE r.id = l.holder AND r.finished_at IS NULL)
          AND NOT EXISTS (SELECT FROM penstock.list_line q WHERE q.list_id = l.id)
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


async def claim_item(conn: Connection, *, position: Position) -> Chunk | None:
    """Lock the chunk, return it with one item, and move on; None when another scheduler has done so or holds it."""
    if not await _lock_line(conn, position.list_id):
        return None
    # A statement of its own: it sees what the one before has waited for.
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
          AND NOT EXISTS (SELECT FROM penstock.runs r WHERE r.id = l.holder AND r.finished_at IS NULL)
          AND NOT EXISTS (SELECT FROM penstock.list_line q WHERE q.list_id = $1)
        RETURNING l.id, l.environment, l.workflow, l.parent_run_id, l.claimed_depth, l.claimed_chain_id, l.priority,
                  l.start_at, l.interval_seconds, l.is_sequential, c.parameters -> $3::int AS item
        """,
        position.list_id,
        position.first_index,
        position.next_offset,
    )
    return None if row is None else Chunk(_from_row(row), position.index, [row["item"]])


async def _lock_line(conn: Connection, list_id: UUID) -> bool:
    """Keep others from letting an item of this sequential list start until the transaction ends; False when one of them
    is at it.
    """
    is_locked: bool = await conn.fetchval(
        "SELECT pg_try_advisory_xact_lock(hashtextextended('line of list/' || $1::uuid::text, 0))", list_id
    )
    return is_locked


async def note_holder(conn: Connection, *, list_id: UUID, run_id: UUID) -> None:
    """Have the next item of a sequential list wait for this run, which this transaction has admitted, and have that
    report its end at once. To be called behind the admission, which locks the chain before the list.
    """
    await conn.execute(
        """
        WITH awaited AS (UPDATE penstock.runs SET is_awaited = true WHERE id = $2)
        UPDATE penstock.lists SET is_ready = false, holder = $2 WHERE id = $1
        """,
        list_id,
        run_id,
    )


async def list_heads(conn: Connection) -> list[tuple[UUID, UUID]]:
    """The first item that waits to be taken up again of each sequential list none of whose items is under way: the ids
    of list and run. Of a line, one entry of the index is read, whatever its size.
    """
    rows = await conn.fetch(
        """
        WITH RECURSIVE heads AS (
            (SELECT q.list_id, q.run_id, 1 AS number FROM penstock.list_line q
             ORDER BY q.list_id, q.admitted_at LIMIT 1)
            UNION ALL
            (SELECT f.list_id, f.run_id, h.number + 1 FROM heads h CROSS JOIN LATERAL (
                 SELECT q.list_id, q.run_id FROM penstock.list_line q
                 WHERE q.list_id > h.list_id ORDER BY q.list_id, q.admitted_at LIMIT 1
             ) f WHERE h.number < $1)
        )
        SELECT h.list_id, h.run_id FROM heads h
        CROSS JOIN LATERAL (SELECT l.holder FROM penstock.lists l WHERE l.id = h.list_id OFFSET 0) l
        LEFT JOIN LATERAL (
            SELECT r.id FROM penstock.runs r WHERE r.id = l.holder AND r.finished_at IS NULL OFFSET 0
        ) r ON true
        -- It may have been taken up again, too.
        WHERE r.id IS NULL OR EXISTS (SELECT FROM penstock.list_line q WHERE q.run_id = r.id)
        """,
        MAX_LINES,
    )
    return [(row["list_id"], row["run_id"]) for row in rows]


async def release_head(conn: Connection, *, list_id: UUID, run_id: UUID) -> bool:
    """Let an item that waits to be taken up again start, unless another item of its list is under way; False when it
    was not. To be called in a transaction.
    """
    if not await _lock_line(conn, list_id):
        return False
    # A statement of its own: it sees what the one before has waited for. Runs are locked before their list, as
    # everywhere.
    status = await conn.execute(
        """
        WITH head AS MATERIALIZED (
            SELECT r.id FROM penstock.runs r
            WHERE r.id = $2 AND r.state || '' = 'scheduled'
              AND NOT EXISTS (
                  SELECT FROM penstock.lists l
                  CROSS JOIN LATERAL (
                      SELECT h.id, h.finished_at FROM penstock.runs h WHERE h.id = l.holder OFFSET 0
                  ) h
                  WHERE l.id = $1 AND h.finished_at IS NULL
                    AND NOT EXISTS (SELECT FROM penstock.list_line q WHERE q.run_id = h.id))
            FOR NO KEY UPDATE OF r SKIP LOCKED
        ), left_line AS (
            DELETE FROM penstock.list_line q WHERE q.run_id = (SELECT h.id FROM head h) RETURNING q.run_id
        ), started AS (
            UPDATE penstock.runs r SET parked_at = NULL FROM left_line f WHERE r.id = f.run_id
        )
        UPDATE penstock.lists l SET is_ready = false, holder = f.run_id FROM left_line f WHERE l.id = $1
        """,
        list_id,
        run_id,
    )
    return status != "UPDATE 0"


async def fail_list(conn: Connection, *, list_id: UUID, error: JsonValue) -> bool:
    """Give a list up; the runs it has made already continue. False when it was not being expanded any more."""
    status = await conn.execute(
        """
        WITH failed AS (
            UPDATE penstock.lists SET state = 'failed', error = $2, finished_at = clock_timestamp(),
                follower_state = CASE follower_state WHEN 'waiting' THEN 'due' ELSE follower_state END
            WHERE id = $1 AND state = 'expanding' RETURNING id
        ), stopped AS (
            DELETE FROM penstock.list_searches s USING failed f WHERE s.list_id = f.id
        )
        -- Who waits for the list is woken as when a run has ended.
        INSERT INTO penstock.ends (run_id, state, change) SELECT f.id, 'failed', 1 FROM failed f
        """,
        list_id,
        error,
    )
    return status != "INSERT 0 0"


async def close_expanded_lists(conn: Connection, *, of: Sequence[UUID] | None = None) -> int:
    """Note lists without chunks left, of these or of all. Not in the chunks' transactions: the last two, side by side,
    do not see each other.
    """
    rows = await conn.fetch(
        """
        UPDATE penstock.lists l SET state = 'expanded'
        WHERE l.state = 'expanding' AND ($1::uuid[] IS NULL OR l.id = ANY($1))
          AND NOT EXISTS (SELECT FROM penstock.list_chunks c WHERE c.list_id = l.id AND c.expanded_at IS NULL)
          AND NOT EXISTS (SELECT FROM penstock.list_searches s WHERE s.list_id = l.id)
        RETURNING l.id
        """,
        of,
    )
    return len(rows)


async def take_ends(conn: Connection, *, most: int) -> tuple[list[UUID], list[UUID], int]:
    """Apply up to `most` notes of ends to the counts of their lists; returns the runs that have ended, the lists that
    were touched, and how many notes there were. Skips those that another scheduler has in hand.
    """
    rows = await conn.fetch(
        """
        WITH held AS MATERIALIZED (
            SELECT e.id FROM penstock.ends e ORDER BY e.id LIMIT $1 FOR UPDATE SKIP LOCKED
        )
        DELETE FROM penstock.ends e WHERE e.id = ANY(ARRAY(SELECT h.id FROM held h))
        RETURNING e.run_id, e.list_id, e.state, e.change
        """,
        most,
    )
    touched = sorted({row["list_id"] for row in rows if row["list_id"] is not None})
    if touched:
        noted = [row for row in rows if row["list_id"] is not None]
        await _count_ends(conn, touched, noted)
    return [row["run_id"] for row in rows if row["change"] > 0], touched, len(rows)


async def _count_ends(conn: Connection, list_ids: Sequence[UUID], noted: Sequence[Record]) -> None:
    await conn.execute(
        """
        WITH held AS MATERIALIZED (
            SELECT l.id FROM penstock.lists l WHERE l.id = ANY($4::uuid[]) ORDER BY l.id FOR NO KEY UPDATE
        ), n AS (
            SELECT q.list_id, coalesce(sum(q.change) FILTER (WHERE q.state = 'succeeded'), 0) AS succeeded,
                   coalesce(sum(q.change) FILTER (WHERE q.state = 'failed'), 0) AS failed,
                   coalesce(sum(q.change) FILTER (WHERE q.state = 'skipped'), 0) AS skipped,
                   coalesce(sum(q.change) FILTER (WHERE q.state = 'cancelled'), 0) AS cancelled,
                   coalesce(sum(q.change) FILTER (WHERE q.state = 'terminated'), 0) AS terminated
            FROM unnest($1::uuid[], $2::text[], $3::int[]) AS q (list_id, state, change) GROUP BY q.list_id
        )
        UPDATE penstock.lists l
        SET succeeded = l.succeeded + n.succeeded, failed = l.failed + n.failed, skipped = l.skipped + n.skipped,
            cancelled = l.cancelled + n.cancelled, terminated = l.terminated + n.terminated, is_ready = true
        FROM held h JOIN n ON n.list_id = h.id
        WHERE l.id = h.id
        """,
        [row["list_id"] for row in noted],
        [row["state"] for row in noted],
        [row["change"] for row in noted],
        list_ids,
    )


async def finish_lists(conn: Connection, *, list_ids: Sequence[UUID] | None = None) -> list[FinishedList]:
    """Finish expanded lists whose runs have all ended, each once: of these, or of all; skips those that others hold. It
    costs the same, whatever their size.

    Not while a note of an end waits to be applied: it may be that of a run that was taken up again.
    """
    rows = await conn.fetch(
        """
        WITH held AS MATERIALIZED (
            SELECT l.id FROM penstock.lists l
            WHERE l.state = 'expanded' AND ($1::uuid[] IS NULL OR l.id = ANY($1))
              AND l.succeeded + l.failed + l.skipped + l.cancelled + l.terminated + l.given_up + l.passed_over
                  >= l.total
              AND NOT EXISTS (SELECT FROM penstock.ends e WHERE e.list_id = l.id)
            ORDER BY l.created_at LIMIT 100
            FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE penstock.lists l SET state = 'finished', finished_at = clock_timestamp(),
            follower_state = CASE l.follower_state WHEN 'waiting' THEN 'due' ELSE l.follower_state END
        FROM held h WHERE l.id = h.id AND l.state = 'expanded'
          AND NOT EXISTS (SELECT FROM penstock.ends e WHERE e.list_id = l.id)
        RETURNING l.id, l.environment, l.workflow, l.total,
                  l.succeeded, l.failed, l.skipped, l.cancelled, l.terminated,
                  coalesce(l.follower_state = 'due', false) AS has_follower
        """,
        list_ids,
    )
    return [FinishedList(*row) for row in rows]


async def find_list_state(conn: Connection, *, list_id: UUID) -> str | None:
    """The state of a list; None when there is no such list."""
    state: str | None = await conn.fetchval("SELECT state FROM penstock.lists WHERE id = $1", list_id)
    return state
