"""Large chains and lists share the executors with others, and with each other.

*A crowd* is a chain of more than 200 runs, a list beyond its first thousand items, or a workflow of which thousands of
single runs arrive at once (`penstock.runs.floods`). Executors take runs in the order in which they were queued. So a
chain that doubles, or a list of a million, would have all who come later wait behind all it has.
Runs of a crowd are therefore not queued when they are admitted: they stay `scheduled`, and this loop queues a few of
each crowd at a time, in turns.

*How many* may be queued and not yet taken by an executor is divided among the crowds that have some due. It is found
by trying (`rules.ahead_after`): as many as executors use up within a few turns of this loop, and at least two for each
run that is being performed. So no executor runs dry, however many there are, and what comes later waits behind no more
than that. Schedulers that look at the same moment may exceed it.

*What it costs.* Runs of smaller chains have no crowd; nothing here knows them. A run of a crowd is updated once more,
and while some wait, their schedulers look fifty times a second at what is queued.

*What dies when.* As with all due runs the row is the truth: what was queued and never sent is dispatched again, and
what was not queued is found by the next turn of any scheduler. Stops, cancels and pauses hold as for others.
"""

from functools import partial
from typing import Final
from uuid import UUID

from penstock.db import Connection
from penstock.domain.states import RunState, Termination
from penstock.runtime import Counts
from penstock_scheduler import rules
from penstock_scheduler.loops.dispatching import Due, end_stopped
from penstock_scheduler.repository import crowds as repository
from penstock_scheduler.repository.runs import MAX_CROWDS
from penstock_scheduler.room import Room

BATCH: Final = 1000
_MAX_RUNNING: Final = 20_000


async def share_out(room: Room) -> Counts:
    """Queue what the shares of the crowds leave room for, and hand it to executors; rests until the next is due."""
    async with room.database.connection() as conn:
        crowds = await repository.list_crowds(conn, after=room.crowds.after, most=MAX_CROWDS)
        is_all = room.crowds.after is None and len(crowds) < MAX_CROWDS
        room.crowds.after = crowds[-1].id if len(crowds) == MAX_CROWDS else None
        due = [crowd.id for crowd in crowds if crowd.due_seconds <= 0]
        if due and room.crowds.is_old:
            room.crowds.note(await repository.count_running(conn, most=_MAX_RUNNING))
    found = Due([], {})
    if due:
        share = rules.share_of(room.crowds.ahead, crowds=len(due))
        found = await room.database.in_transaction(partial(_take, crowds=due, share=share))
        room.crowds.adapt(given=share * len(due), taken=len(found.queued))
    for run, path in found.ended.items():
        room.publisher.terminated(run, Termination.CHAIN_STOPPED, path)
    await room.dispatches.begin(found.queued)
    taken = len(found.queued) + len(found.ended) + found.parked
    next_due = min((crowd.due_seconds for crowd in crowds), default=None) if is_all else 0.0
    wait = rules.next_wait(did_work=taken > 0, is_full=taken >= BATCH, next_due_seconds=next_due)
    return Counts({"shared": len(found.queued), "terminated": len(found.ended), "parked": found.parked}, wait)


async def _take(conn: Connection, *, crowds: list[UUID], share: int) -> Due:
    runs = await repository.share_out_runs(conn, crowds=crowds, share=share, most=BATCH)
    queued = [run for run in runs if run.state is RunState.QUEUED]
    stopped = [run for run in runs if run.state is RunState.TERMINATED]
    return Due(queued, await end_stopped(conn, stopped), len(runs) - len(queued) - len(stopped))
