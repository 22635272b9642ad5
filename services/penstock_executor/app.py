"""One executor: settings → room → edges → run. How a service begins and ends is written in `penstock.runtime`."""

from functools import partial

from penstock.contracts.topology import EVENTS_EXCHANGE, executor_queue
from penstock.runtime import Consumer, Edges, Resources, Stop, Subscription, run_service
from penstock_executor.handlers import MAX_MESSAGES, note_cancelled, receive
from penstock_executor.loops import list_loops
from penstock_executor.room import Room, open_room
from penstock_executor.settings import ExecutorSettings


async def serve(settings: ExecutorSettings, stop: Stop, resources: Resources | None = None) -> None:
    """Run an executor until a soft stop, then until what is in flight is finished.

    Given `resources` are used and left open. Raises ConfigurationError for what a person has to change first.
    """
    await run_service("executor", settings, stop, resources, open_room, make_edges)


def make_edges(room: Room) -> Edges[Room]:
    """Where an executor meets the outside, what it does by itself, and how it ends."""
    return Edges(
        consumers=tuple(Consumer(executor_queue(lane), partial(receive, room), MAX_MESSAGES) for lane in room.lanes),
        subscriptions=(Subscription(EVENTS_EXCHANGE, "*.run.cancelled", partial(note_cancelled, room)),),
        loops=list_loops(room),
        leave=room.slots.close,
        finish=room.finish,
        release=room.release,
    )
