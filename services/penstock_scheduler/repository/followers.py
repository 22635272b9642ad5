"""What starts when lists have ended."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection
from penstock.domain.lineage import Lineage
from penstock.domain.list_counts import COUNTS
from penstock.runs.followers import Follower


@dataclass(frozen=True, slots=True)
class EndedList:
    """A list that has ended, and what is to follow it; `counts` is what expressions read as `list`."""

    id: UUID
    environment: str
    lineage: Lineage
    follower: Follower
    counts: dict[str, JsonValue]


async def take_ended_list(conn: Connection) -> EndedList | None:
    """Lock a list whose follower is due; skips those that another scheduler holds."""
    row = await conn.fetchrow(
        """
        SELECT l.id, l.environment, l.parent_run_id, l.claimed_depth, l.claimed_chain_id, l.follower, l.total,
               l.succeeded, l.failed, l.skipped, l.cancelled + l.given_up AS cancelled, l.terminated
        FROM penstock.lists l
        WHERE l.follower_state = 'due'
        ORDER BY l.finished_at
        LIMIT 1
        FOR UPDATE SKIP LOCKED
        """
    )
    if row is None:
        return None
    lineage = Lineage(row["claimed_depth"], row["claimed_chain_id"], row["parent_run_id"])
    counts: dict[str, JsonValue] = {"id": str(row["id"]), **{name: row[name] for name in COUNTS}}
    return EndedList(row["id"], row["environment"], lineage, Follower.from_json(row["follower"]), counts)


async def note_follower(conn: Connection, *, list_id: UUID, state: Literal["started", "refused"]) -> None:
    """What follows the list has started, or cannot."""
    await conn.execute(
        "UPDATE penstock.lists SET follower_state = $2 WHERE id = $1 AND follower_state = 'due'", list_id, state
    )
