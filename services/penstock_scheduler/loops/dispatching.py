"""Runs whose time has come are handed to the executors, and handed over again when that was lost.

A due run becomes `queued` in one statement, then a message goes out. If this process dies in between, or the broker
loses the message, the row still says `queued`, and `redispatch_lost` sends it again. Sending twice is harmless, because
claiming is exclusive.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from penstock.contracts.topology import BULK_LANE, LANES, executor_queue
from penstock.db import Connection
from penstock.domain.runs import RunSummary
from penstock.domain.states import RunState, Termination
from penstock.logs import get_logger
from penstock.metrics import REDISPATCHED
from penstock.runs.terminations import record_terminations
from penstock.runtime import Counts
from penstock_scheduler import rules
from penstock_scheduler.repository import runs as repository
from penstock_scheduler.room import Room

log = get_logger(__name__)

BATCH: Final = 1000
LOST_AFTER: Final = timedelta(seconds=5)
"""With an empty queue: long enough for a message on its way, or held by an executor until it has slots."""
LOST_AFTER_RECONNECT: Final = timedelta(seconds=1)
LOST_AFTER_WITH_BACKLOG: Final = timedelta(minutes=1)
MAX_WAITING: Final = 1000
"""With more messages than this in the queue nothing is repeated: repetitions would only pile up without executors."""
_MAX_BATCHES: Final = 50


@dataclass(slots=True)
class Due:
    """Runs whose time has come: those queued now, and those of stopped chains, terminated instead, with their paths.
    `parked` is how many are held back by a pause.
    """

    queued: list[RunSummary]
    ended: dict[RunSummary, tuple[str, ...]]
    parked: int = 0


async def dispatch_due(room: Room) -> Counts:
    """Dispatch what is due; rests until the next run is. Ends a due run of a stopped chain instead."""
    return await hand_on(room, "dispatched", _take_due, repository.find_next_due)


async def hand_on(
    room: Room,
    what: str,
    take: Callable[[Connection], Awaitable[Due]],
    find_next: Callable[[Connection], Awaitable[float | None]],
) -> Counts:
    """Take at most BATCH due runs and hand them to executors; `what` names that in the counts.

    Rests until the next run is due; `find_next` says in how many seconds.
    """
    due = await room.database.in_transaction(take)
    for run, path in due.ended.items():
        room.publisher.terminated(run, Termination.CHAIN_STOPPED, path)
    await room.dispatches.begin(due.queued)
    taken = len(due.queued) + len(due.ended) + due.parked
    next_due = None
    if taken < BATCH:
        async with room.database.connection() as conn:
            next_due = await find_next(conn)
    wait = rules.next_wait(did_work=taken > 0, is_full=taken >= BATCH, next_due_seconds=next_due)
    return Counts({what: len(due.queued), "terminated": len(due.ended), "parked": due.parked}, wait)


async def end_stopped(conn: Connection, stopped: Sequence[RunSummary]) -> dict[RunSummary, tuple[str, ...]]:
    """Explain that these runs ended because their chain was stopped; each with its path."""
    if not stopped:
        return {}
    paths = await record_terminations(conn, {run.id: Termination.CHAIN_STOPPED for run in stopped})
    return {run: paths.get(run.id, ()) for run in stopped}


async def _take_due(conn: Connection) -> Due:
    due = await repository.dispatch_due_runs(conn, most=BATCH)
    stopped = [run for run in due if run.state is RunState.TERMINATED]
    queued = [run for run in due if run.state is RunState.QUEUED]
    return Due(queued, await end_stopped(conn, stopped), len(due) - len(queued) - len(stopped))


async def redispatch_lost(room: Room) -> Counts:
    """Dispatch queued runs again whose message was lost: the queue of their lane is empty. Does nothing while its
    length is unknown.

    With a backlog only runs that were dispatched very long ago, their message may be just another one's turn away; with
    a long one none.
    """
    is_after_reconnect, total = room.nudges.take_reconnect(), 0
    for lane in LANES:
        total += await _redispatch_lane(room, lane, is_after_reconnect=is_after_reconnect)
    if total:
        log.warning("run.redispatched", runs=total)
    return Counts({"redispatched": total})


async def _redispatch_lane(room: Room, lane: str, *, is_after_reconnect: bool) -> int:
    waiting = await room.broker.count_ready(executor_queue(lane))
    if waiting is None or waiting > MAX_WAITING:
        return 0
    lost_after = LOST_AFTER_WITH_BACKLOG
    if waiting == 0:
        lost_after = LOST_AFTER_RECONNECT if is_after_reconnect else LOST_AFTER
    total, began = 0, time.monotonic()
    for _ in range(_MAX_BATCHES):
        # As of the turn's beginning: what this turn has dispatched is not lost a second later.
        older_than = lost_after + timedelta(seconds=time.monotonic() - began)
        async with room.database.connection() as conn:
            runs = await repository.redispatch_runs(conn, older_than=older_than, most=BATCH, is_bulk=lane == BULK_LANE)
        if not runs:
            break
        await room.dispatches.begin(runs)
        REDISPATCHED.inc(len(runs))
        total += len(runs)
    return total
