"""Runs whose time has come are handed to the executors, and handed over again when that was lost.

A due run becomes `queued` in one statement, then a message goes out. If this process dies in between, or the broker
loses the message, the row still says `queued`, and `redispatch_lost` sends it again. Sending twice is harmless, because
claiming is exclusive.
"""

import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from penstock.contracts.topology import executor_queue
from penstock.db import Connection
from penstock.domain.runs import RunSummary
from penstock.domain.states import RunState, Termination
from penstock.logs import get_logger
from penstock.metrics import REDISPATCHED, TERMINATIONS
from penstock.runs.terminations import record_terminations
from penstock_scheduler import rules
from penstock_scheduler.repository import runs as repository
from penstock_scheduler.room import Room
from penstock_scheduler.runs import Counts

log = get_logger(__name__)

BATCH: Final = 1000
LOST_AFTER: Final = timedelta(seconds=5)
"""With an empty queue: long enough for a message on its way, or held by an executor until it has slots."""
LOST_AFTER_RECONNECT: Final = timedelta(seconds=1)
LOST_AFTER_WITH_BACKLOG: Final = timedelta(minutes=1)
MOST_WAITING: Final = 1000
"""With more messages than this in the queue nothing is repeated: while no executor runs, each repetition would only
pile up.
"""
_MOST_BATCHES: Final = 50

Paths = dict[RunSummary, tuple[str, ...]]


async def dispatch_due(room: Room) -> Counts:
    """Dispatch what is due; rests until the next run is. Ends a due run of a stopped chain instead."""
    runs, ended = await room.database.in_transaction(partial(_take_due, most=BATCH))
    tell_terminated(room, ended)
    await room.dispatches.begin(runs)
    is_full = len(runs) + len(ended) >= BATCH
    next_due = None
    if not is_full:
        async with room.database.connection() as conn:
            next_due = await repository.find_next_due(conn)
    wait = rules.next_wait(did_work=bool(runs or ended), is_full=is_full, next_due_seconds=next_due)
    return Counts({"dispatched": len(runs), "terminated": len(ended)}, wait)


async def _take_due(conn: Connection, *, most: int) -> tuple[list[RunSummary], Paths]:
    due = await repository.dispatch_due_runs(conn, most=most)
    stopped = {run.id: run for run in due if run.state is RunState.TERMINATED}
    paths = await record_terminations(conn, dict.fromkeys(stopped, Termination.CHAIN_STOPPED)) if stopped else {}
    return [run for run in due if run.state is RunState.QUEUED], {
        run: paths.get(run.id, ()) for run in stopped.values()
    }


def tell_terminated(room: Room, ended: Paths) -> None:
    """After the commit: count, publish and log that runs were terminated because their chain was stopped."""
    for run, path in ended.items():
        TERMINATIONS.labels(run.environment, Termination.CHAIN_STOPPED.value).inc()
        room.publisher.run_event("terminated", run, reason=Termination.CHAIN_STOPPED.value, path=path)
        log.info(
            "run.terminated",
            run_id=str(run.id),
            workflow=run.workflow,
            depth=run.depth,
            reason=Termination.CHAIN_STOPPED.value,
        )


async def redispatch_lost(room: Room) -> Counts:
    """Dispatch queued runs again whose message must have been lost: none waits in the queue. Nothing while that cannot
    be told.

    With a backlog only runs that were dispatched very long ago, their message may be just another one's turn away; with
    a long one none.
    """
    is_after_reconnect = room.nudges.take_reconnect()
    waiting = await room.broker.count_ready(executor_queue())
    if waiting is None or waiting > MOST_WAITING:
        return Counts({"redispatched": 0})
    lost_after = LOST_AFTER_WITH_BACKLOG
    if waiting == 0:
        lost_after = LOST_AFTER_RECONNECT if is_after_reconnect else LOST_AFTER
    total, began = 0, time.monotonic()
    for _ in range(_MOST_BATCHES):
        # As of the turn's beginning: what this turn has dispatched is not lost a second later.
        runs = await _stamp_lost(room, lost_after + timedelta(seconds=time.monotonic() - began))
        if not runs:
            break
        await room.dispatches.begin(runs)
        REDISPATCHED.inc(len(runs))
        total += len(runs)
    if total:
        log.warning("run.redispatched", runs=total)
    return Counts({"redispatched": total})


async def _stamp_lost(room: Room, lost_after: timedelta) -> Sequence[RunSummary]:
    async with room.database.connection() as conn:
        return await repository.redispatch_runs(conn, older_than=lost_after, most=BATCH)
