"""What an ingress serves, for its first page."""

from importlib.metadata import version

from penstock.definitions.models import ENVIRONMENTS
from penstock.errors import DatabaseUnavailable
from penstock_ingress.room import Room
from penstock_ingress.rules.front import Deployed, Serving


async def describe_serving(room: Room) -> Serving:
    """The version, what is deployed where, and whether database and broker answer."""
    environments: dict[str, Deployed] | None
    try:
        environments = {name: await _find_deployed(room, name) for name in ENVIRONMENTS}
    except DatabaseUnavailable:
        environments = None
    return Serving(version("penstock"), room.broker.is_connected, environments)


async def _find_deployed(room: Room, environment: str) -> Deployed:
    deployment = await room.definitions.newest(environment)
    app = deployment.app.name if deployment.version else None
    return Deployed(app, deployment.version, len(deployment.app.workflows))
