"""Looking at an app's data with the eyes of an admin: its types, and things of one."""

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from penstock.bodies import Undecodable, parse_json, without_nul
from penstock.definitions.fields import BUILT_IN_FIELDS, constraint_types
from penstock.definitions.models import DataType
from penstock.domain.callers import Caller
from penstock.things.clauses import ConstraintProblem
from penstock.things.constraints import Restricted
from penstock.things.ordering import Order
from penstock.things.privacy import EVERYTHING
from penstock.things.records import Window, find_things
from penstock_ingress.handlers.pages import read_limit
from penstock_ingress.repository.data_views import ShownType, ThingPage, TypeField, TypeList
from penstock_ingress.room import Room
from penstock_ingress.rules.replies import Refusal, problem

_MAX_CONSTRAINTS: Final = 100


async def show_types(room: Room, environment: str, caller: Caller) -> TypeList:
    """The data types that the caller's token reaches."""
    types = (await room.definitions.newest(environment)).app.types.values()
    return TypeList(results=[_show_type(one) for one in types if caller.reaches_type(one.name)], after=None)


async def show_things(room: Room, environment: str, name: str, query: Mapping[str, str], caller: Caller) -> ThingPage:
    """Things of a type that meet the constraints, the newest first, whatever its privacy rules say. Raises Refusal,
    also for a token that has no sight of payloads, or does not reach the type.
    """
    constraints, limit = _read_constraints(query), read_limit(query)
    data_type = (await room.definitions.newest(environment)).app.types.get(name)
    if data_type is None or not caller.reaches_type(name):
        raise Refusal(problem(404, f"{environment} has no data type {name[:100]!r}"))
    if not caller.sees_payloads:
        raise Refusal(problem(403, "this token has no sight of payloads"))
    try:
        async with room.database.connection() as conn:
            page = await find_things(
                conn,
                environment=environment,
                data_type=data_type,
                where=Restricted(constraints, EVERYTHING),
                order=Order(descending=True),
                window=Window(limit, query.get("after") or None),
            )
    except ConstraintProblem as error:
        raise Refusal(problem(400, str(error))) from None
    return ThingPage(results=[dict(thing) for thing in page.results], after=page.after)


def _show_type(data_type: DataType) -> ShownType:
    return ShownType(
        name=data_type.name,
        display=data_type.display or data_type.name,
        is_in_api=data_type.is_in_api,
        fields=[
            TypeField(name=field.name, type=str(field.type), constraints=sorted(constraint_types(field.type)))
            for field in (*BUILT_IN_FIELDS, *data_type.fields)
        ],
    )


def _read_constraints(query: Mapping[str, str]) -> tuple[JsonValue, ...]:
    text = query.get("constraints")
    if not text:
        return ()
    raw = text.encode("utf-8", "surrogateescape")
    try:
        value = without_nul(parse_json(raw), raw)
    except Undecodable as error:
        raise Refusal(problem(400, f"constraints: {error}")) from None
    if not isinstance(value, list) or len(value) > _MAX_CONSTRAINTS:
        raise Refusal(problem(400, f"constraints: expected a list in JSON of at most {_MAX_CONSTRAINTS} items"))
    return tuple(value)
