"""Runs that have waited long enough are queued and handed to the executors; `penstock.runs.waits` tells the whole story
of a wait.
"""

from functools import partial
from typing import Final

from penstock.db import Connection
from penstock.domain.runs import RunSummary
from penstock.domain.states import Termination
from penstock.runs.terminations import record_terminations
from penstock.runs.waits import forget_waits, wake_runs
from penstock_scheduler import rules
from penstock_scheduler.loops.dispatching import Paths, tell_terminated
from penstock_scheduler.repository import waits as repository
from penstock_scheduler.room import Room
from penstock_scheduler.runs import Counts

BATCH: Final = 1000


async def wake_waiting(room: Room) -> Counts:
    """Queue runs whose time has come and dispatch them; rests until the next one's has. Ends one of a stopped chain
    instead.
    """
    woken, ended = await room.database.in_transaction(partial(_wake, most=BATCH))
    tell_terminated(room, ended)
    await room.dispatches.begin(woken)
    is_full = len(woken) + len(ended) >= BATCH
    next_due = None
    if not is_full:
        async with room.database.connection() as conn:
            next_due = await repository.find_next_wake(conn)
    wait = rules.next_wait(did_work=bool(woken or ended), is_full=is_full, next_due_seconds=next_due)
    return Counts({"woken": len(woken), "terminated": len(ended)}, wait)


async def _wake(conn: Connection, *, most: int) -> tuple[list[RunSummary], Paths]:
    due = await repository.lock_due_waits(conn, most=most)
    going_on = [run_id for run_id, is_stopped in due if not is_stopped]
    stopped = [run_id for run_id, is_stopped in due if is_stopped]
    ended: Paths = {}
    if stopped:
        await forget_waits(conn, run_ids=stopped)
        runs = await repository.terminate_waiting(conn, run_ids=stopped)
        paths = await record_terminations(conn, dict.fromkeys(stopped, Termination.CHAIN_STOPPED))
        ended = {run: paths.get(run.id, ()) for run in runs}
    return await wake_runs(conn, run_ids=going_on) if going_on else [], ended
