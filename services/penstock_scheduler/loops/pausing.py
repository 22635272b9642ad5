"""Parks what was queued when its pause began, and releases what was parked when its pause was lifted;
`penstock.runs.schedule.pauses` has the whole story.
"""

from functools import partial
from typing import Final

from penstock.db import Connection
from penstock.domain.states import RunState
from penstock.runs.schedule.pauses import (
    has_pauses,
    lift_pauses_of_finished,
    list_in_force,
    list_lifted,
    park_queued_runs,
    release,
)
from penstock.runtime import Counts
from penstock_scheduler.admitting.pause_watch import PauseWatch
from penstock_scheduler.room import Room

BATCH: Final = 1000
WINDOW: Final = 5000
"""Queued runs that one turn looks at."""


async def hold_back(room: Room) -> Counts:
    """Take one turn at both; the next follows at once while there is more to do."""
    released = dropped = 0
    await room.database.in_transaction(lift_pauses_of_finished)
    async with room.database.connection() as conn:
        lifted = await list_lifted(conn)
        parked, is_full = await _park(conn, room.pauses)
    for pause_id in lifted:
        done = await room.database.in_transaction(partial(release, pause_id=pause_id, most=BATCH))
        released, dropped = released + done.runs, dropped + len(done.dropped)
        for run in done.dropped:
            room.publisher.run_event(RunState.CANCELLED.value, run, reason="dropped at the end of a pause")
    if released:
        room.nudges.look_for_due()
    if lifted:
        room.nudges.waits.set()
        room.nudges.tick.set()
    is_full |= max(released, dropped) >= BATCH
    return Counts({"parked": parked, "released": released, "dropped": dropped}, 0.0 if is_full else None)


async def _park(conn: Connection, watch: PauseWatch) -> tuple[int, bool]:
    """How many runs were taken back, and whether there are more to look at."""
    if not await has_pauses(conn):
        watch.forget()
        return 0, False
    watch.note(await list_in_force(conn))
    look = await park_queued_runs(conn, since=watch.since, most=WINDOW)
    watch.since = look.next_since
    return look.parked, look.is_full
