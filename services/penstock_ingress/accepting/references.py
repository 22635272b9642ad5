"""Whether the things that a call names are there: one query for each data type, and none for calls without things."""

from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from penstock.db import Database, UndefinedTable
from penstock.definitions.models import App, Parameter, Workflow
from penstock.errors import StaleDefinitions
from penstock.runs.idempotency import IdempotencyKey, is_bound
from penstock.things.records import find_missing
from penstock_ingress.rules import bubble
from penstock_ingress.rules.replies import Refusal

Values = Mapping[str, JsonValue]


async def check_references(
    database: Database, call: tuple[str, IdempotencyKey | None], workflow: Workflow, app: App, values: Values
) -> None:
    """Raises Refusal for the first parameter with an id that names nothing, as Bubble does; StaleDefinitions where the
    app has lost a type meanwhile; DatabaseUnavailable.

    `call` is its environment and its key: a copy is not refused, because its run may have deleted the thing. Things may
    be deleted a moment later too, so no run can rely on this check.
    """
    referring = [known for known in workflow.parameters if known.type.is_thing and values.get(known.name)]
    if not referring:
        return
    environment, key = call
    ids = {name: sorted(_all_ids(referring, name, values)) for name in {known.type.name for known in referring}}
    async with database.connection() as conn:
        try:
            missing = {
                name: await find_missing(conn, environment=environment, data_type=app.types[name], ids=ids[name])
                for name in ids
            }
        except UndefinedTable:
            raise StaleDefinitions("a data type may have been removed since") from None
        if key is not None and any(missing.values()) and await is_bound(conn, environment=environment, key=key):
            return
    for known in referring:
        for index, id in enumerate(_ids(values[known.name])):
            if id in missing[known.type.name]:
                raise _refuse(known, f"item {index}: " if known.type.is_list else "")


def _all_ids(referring: Sequence[Parameter], type_name: str, values: Values) -> set[str]:
    return {id for known in referring if known.type.name == type_name for id in _ids(values[known.name])}


def _ids(value: JsonValue) -> Iterator[str]:
    yield from (item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str))


def _refuse(known: Parameter, where: str) -> Refusal:
    message = f"Invalid value for parameter {known.name}: {where}there is no {known.type.name} with this id"
    return Refusal(bubble.wrapped(400, "INVALID_DATA", message))
