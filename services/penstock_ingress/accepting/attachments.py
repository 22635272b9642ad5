"""Files of calls that belong to things: a private file with `attach_to` is for those who may see that thing."""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from penstock.db import Database, UndefinedTable
from penstock.definitions.models import App
from penstock.domain.callers import Caller
from penstock.domain.files import NewFile
from penstock.errors import StaleDefinitions
from penstock.things.files import find_attachment
from penstock.things.records import find_type_of, get_thing
from penstock.things.tables import USER
from penstock_ingress.accepting.definitions import Definitions
from penstock_ingress.accepting.exposed import Exposed, find_viewer
from penstock_ingress.rules import bubble
from penstock_ingress.rules.replies import Refusal


async def attach_files(database: Database, environment: str, app: App, files: Sequence[NewFile]) -> list[NewFile]:
    """The files with the types of the things they belong to; asks the database only where one does. Raises Refusal for
    an id that names nothing, StaleDefinitions where the app has lost a type meanwhile, and DatabaseUnavailable.
    """
    wanted = {file.attach_to for file in files if file.attach_to is not None}
    if not wanted:
        return list(files)
    types = {USER.name: USER, **app.types}.values()
    found: dict[str, str] = {}
    async with database.connection() as conn:
        for id in sorted(wanted):
            try:
                kind = await find_type_of(conn, environment=environment, types=types, id=id)
            except UndefinedTable:
                raise StaleDefinitions("a data type may have been removed since") from None
            if kind is None:
                message = f"Invalid value for attach_to: there is no thing with the id {id[:100]}"
                raise Refusal(bubble.wrapped(400, "INVALID_DATA", message))
            found[id] = kind.name
    return [file if file.attach_to is None else file._replace(attached_type=found[file.attach_to]) for file in files]


async def may_see_attached(
    database: Database, definitions: Definitions, environment: str, id: UUID, identify: Callable[[], Awaitable[Caller]]
) -> bool:
    """Whether the caller may find the thing to which a private file belongs. Raises Refusal for a wrong token."""
    async with database.connection() as conn:
        attachment = await find_attachment(conn, environment=environment, id=id)
    if attachment is None:
        return False
    app = (await definitions.newest(environment)).app
    types = {USER.name: USER, **app.types}
    data_type = types.get(attachment[0])
    if data_type is None:
        return False
    viewer = await find_viewer(database, Exposed(environment, data_type, types[USER.name], app.name), await identify())
    async with database.connection() as conn:
        thing = await get_thing(conn, environment=environment, data_type=data_type, id=attachment[1], viewer=viewer)
    return thing is not None
