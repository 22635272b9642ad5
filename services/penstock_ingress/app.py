"""One ingress: settings → room → edges → run. How a service begins and ends is written in `penstock.runtime`."""

from penstock.runtime import Edges, Resources, Stop, run_service
from penstock_ingress.loops import list_loops
from penstock_ingress.room import Room, open_room
from penstock_ingress.routes.management import ManagementApi
from penstock_ingress.routes.public import serving_public
from penstock_ingress.settings import IngressSettings


async def serve(settings: IngressSettings, stop: Stop, resources: Resources | None = None) -> None:
    """Run an ingress until a soft stop, then until what is in flight is finished.

    Given `resources` are used and left open. Raises ConfigurationError for what a person has to change first.
    """
    await run_service("ingress", settings, stop, resources, open_room, make_edges)


def make_edges(room: Room) -> Edges[Room]:
    """Where an ingress meets the outside, what it does by itself, and how it ends."""
    return Edges(
        public=serving_public(room),
        admin=ManagementApi(room).build(),
        required={"database"},  # without a broker everything is accepted all the same
        loops=list_loops(room),
        tasks=(room.answers.poll,),
        finish=room.finish,
        release=room.release,
    )
