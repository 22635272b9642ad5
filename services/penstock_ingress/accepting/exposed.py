"""The data types that the Data API serves, and who looks at their things."""

from functools import partial
from typing import NamedTuple

from penstock import clock
from penstock.db import Database
from penstock.definitions.models import DataType
from penstock.definitions.values import format_date
from penstock.domain.callers import Caller
from penstock.store.deployments import CompiledDeployment
from penstock.things.privacy import EVERYTHING, Viewer
from penstock.things.records import get_thing
from penstock.things.tables import USER
from penstock_ingress.accepting.definitions import Definitions
from penstock_ingress.rules import bubble
from penstock_ingress.rules.replies import Refusal


class Exposed(NamedTuple):
    """A data type that is served, the one of the app's users, and the app."""

    environment: str
    data_type: DataType
    user_type: DataType
    app: str


async def find_exposed_type(definitions: Definitions, environment: str, name: str) -> Exposed:
    """The type that a path names, in any case and with or without spaces. Raises Refusal (404) where there is none."""
    return await definitions.decide(environment, partial(_find, environment, name))


async def find_viewer(database: Database, exposed: Exposed, caller: Caller) -> Viewer:
    """Whose eyes a request has. Admins whose token reaches the type, and shows payloads, see everything. Costs a query
    only for users, where the type has rules.
    """
    if caller.role is not None:
        sees_all = caller.sees_payloads and caller.reaches_type(exposed.data_type.name)
        return EVERYTHING if sees_all else Viewer(now=format_date(clock.now()))
    user = None
    if caller.user_id is not None and exposed.data_type.privacy:
        async with database.connection() as conn:
            user = await get_thing(
                conn, environment=exposed.environment, data_type=exposed.user_type, id=caller.user_id
            )
    return Viewer(user=user, now=format_date(clock.now()))


async def _find(environment: str, name: str, deployment: CompiledDeployment) -> Exposed:
    plain, types = _plain(name), deployment.app.types
    if not any(data_type.is_in_api for data_type in types.values()):
        raise Refusal(bubble.not_found("This application does not expose a Data API"))
    for data_type in types.values():
        if plain and data_type.is_in_api and plain in {_plain(data_type.name), _plain(data_type.display)}:
            return Exposed(environment, data_type, types.get(USER.name, USER), deployment.app.name)
    raise Refusal(bubble.not_found(f"Type not found: {name[:100]}"))


def _plain(name: str) -> str:
    return name.replace(" ", "").casefold()
