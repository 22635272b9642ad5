"""One scheduler: settings → room → edges → run. How a service begins and ends is written in `penstock.runtime`."""

from functools import partial

from penstock.contracts.topology import DEAD_LETTER_QUEUE, SCHEDULER_QUEUE
from penstock.runtime import Consumer, Edges, Resources, Stop, run_service
from penstock_scheduler.handlers import MAX_MESSAGES, receive
from penstock_scheduler.handlers.dead_letters import MAX_LETTERS, keep_dead_letter
from penstock_scheduler.loops import list_loops
from penstock_scheduler.room import Room, open_room
from penstock_scheduler.settings import SchedulerSettings


async def serve(settings: SchedulerSettings, stop: Stop, resources: Resources | None = None) -> None:
    """Run a scheduler until a soft stop, then until what is in flight is finished.

    Given `resources` are used and left open. Raises ConfigurationError for what a person has to change first.
    """
    await run_service("scheduler", settings, stop, resources, open_room, make_edges)


def make_edges(room: Room) -> Edges[Room]:
    """Where a scheduler meets the outside, what it does by itself, and how it ends."""
    return Edges(
        consumers=(
            Consumer(SCHEDULER_QUEUE, partial(receive, room), MAX_MESSAGES),
            Consumer(DEAD_LETTER_QUEUE, partial(keep_dead_letter, room), MAX_LETTERS),
        ),
        loops=list_loops(room),
        finish=room.finish,
        release=room.release,
    )
