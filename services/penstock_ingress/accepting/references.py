"""Whether the things that a call names are there: one query for each data type, and none for calls without things."""

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from penstock.db import Database
from penstock.definitions.models import App, Parameter, Workflow
from penstock.things.records import find_missing
from penstock_ingress.rules import bubble
from penstock_ingress.rules.replies import Refusal


async def check_references(
    database: Database, environment: str, workflow: Workflow, app: App, values: Mapping[str, JsonValue]
) -> None:
    """Raises Refusal for the first parameter with an id that names nothing, as Bubble does, and DatabaseUnavailable.
    Things may be deleted a moment later, so a run cannot rely on it.
    """
    referring = [known for known in workflow.parameters if known.type.is_thing and values.get(known.name)]
    if not referring:
        return
    missing: dict[str, set[str]] = {}
    async with database.connection() as conn:
        for name in {known.type.name for known in referring}:
            ids = {id for known in referring if known.type.name == name for id in _ids(values[known.name])}
            missing[name] = await find_missing(
                conn, environment=environment, data_type=app.types[name], ids=sorted(ids)
            )
    for known in referring:
        for index, id in enumerate(_ids(values[known.name])):
            if id in missing[known.type.name]:
                raise _refuse(known, f"item {index}: " if known.type.is_list else "")


def _ids(value: JsonValue) -> Iterator[str]:
    yield from (item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str))


def _refuse(known: Parameter, where: str) -> Refusal:
    message = f"Invalid value for parameter {known.name}: {where}there is no {known.type.name} with this id"
    return Refusal(bubble.wrapped(400, "INVALID_DATA", message))
