"""What a scheduler's loops do about notifications, one after another, for tests that take their turns."""

import asyncio

from penstock.domain.notices import Channel
from penstock.runtime import Counts
from penstock_scheduler.loops.notifying import gather_notices, send_notifications
from penstock_scheduler.room import Room


async def notify(room: Room) -> Counts:
    """Gather what waits, and send it by all ways; how many were sent."""
    await gather_notices(room)
    counts = await asyncio.gather(*(send_notifications(room, channel) for channel in Channel))
    return Counts({"sent": sum(count.done["sent"] for count in counts)})
