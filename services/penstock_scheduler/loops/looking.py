"""Two loops look for all others whether there is anything to do, and wake those that have something.

Most of what a scheduler does is rare, and has to begin soon: so each loop would ask PostgreSQL a few times a second,
and be answered that there is nothing. Here one statement asks for all of them. What a message announces wakes its loop
at once: where it does not say for which loop it is, a look finds out, so that a run that somebody waits for does not
have each loop ask for its own. And each loop also looks for itself now and then.

The inbox has a loop of its own, which looks twenty times a second.
"""

from datetime import timedelta
from typing import Final

from penstock.runtime import Counts
from penstock_scheduler.repository import looks
from penstock_scheduler.room import Room

WRITTEN_SECONDS: Final = 0.25
DUE_SECONDS: Final = 1.0
_WITHIN: Final = timedelta(seconds=1.5)
"""More than lies between two looks: a loop that was woken rests by itself until the moment has come."""
_ANNOUNCED: Final = frozenset({"dispatch", "crowds", "waits", "tick", "turns", "ends", "pauses", "operations"})


async def look_now(room: Room) -> Counts:
    """Wake, of the loops that others may have something for, those that have something."""
    async with room.database.connection() as conn:
        found = {*await looks.look_for_written(conn), *await looks.look_for_due(conn, within=_WITHIN)}
    room.nudges.wake(found & _ANNOUNCED)
    return Counts()


async def look_for_written(room: Room) -> Counts:
    """Wake the loops for which other processes have left something."""
    async with room.database.connection() as conn:
        found = await looks.look_for_written(conn)
    room.nudges.wake(found)
    return Counts()


async def look_for_due(room: Room) -> Counts:
    """Wake the loops for which something is due in a moment, or waits."""
    async with room.database.connection() as conn:
        found = await looks.look_for_due(conn, within=_WITHIN)
    room.nudges.wake(found)
    return Counts()
