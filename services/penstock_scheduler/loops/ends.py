"""Ends of runs that somebody waits for are applied: to the counts of lists, the next item of a sequential one, and the
runs that wait for others. `penstock.runs.joins` has the whole story.
"""

from typing import Final

from penstock.db import Connection
from penstock.domain.runs import RunSummary
from penstock.runs.joins import learn_joins, mark_done, wake_joined
from penstock.runtime import Counts
from penstock_scheduler.loops.list_expansion import announce_finished, finish_and_wake
from penstock_scheduler.repository import lists as repository
from penstock_scheduler.repository.lists import FinishedList
from penstock_scheduler.room import Room

BATCH: Final = 2000


async def settle_ends(room: Room) -> Counts:
    """Apply a batch of ends; the next follows at once while there are more."""
    finished, woken, looked = await room.database.in_transaction(_settle)
    await announce_finished(room, finished, woken)
    if looked:
        room.nudges.sequential.set()
    done = {"ends": looked, "woken": len(woken), "finished": len(finished)}
    return Counts(done, 0.0 if looked >= BATCH else None)


async def _settle(conn: Connection) -> tuple[list[FinishedList], list[RunSummary], int]:
    ended, list_ids, noted = await repository.take_ends(conn, most=BATCH)
    waiters, learned = await learn_joins(conn, most=BATCH)
    if ended:
        waiters |= await mark_done(conn, awaited=ended)
    finished, woken = await finish_and_wake(conn, list_ids=list_ids) if list_ids else ([], [])
    if waiters:
        woken += await wake_joined(conn, waiters=waiters)
    return finished, woken, max(noted, learned)
