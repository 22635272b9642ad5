"""Reads things through the Data API, under the privacy rules of their types.

A constraint or an order on a field that the caller may not see is dropped, as Bubble does; it would tell what the field
holds. A thing of which the caller may see no field is answered like one that does not exist (Bubble's own answer
differs by case).
"""

from collections.abc import Iterator, Mapping
from functools import partial

from pydantic import JsonValue

from penstock.definitions.fields import find_field
from penstock.definitions.models import DataType
from penstock.domain.callers import Caller
from penstock.domain.workload import Activity
from penstock.store.deployments import CompiledDeployment
from penstock.things.constraints import ConstraintProblem
from penstock.things.privacy import Visibility, visibility
from penstock.things.records import Order, Page, Thing, Window, find_things, get_thing
from penstock_ingress.room import Room
from penstock_ingress.rules import bubble
from penstock_ingress.rules.headers import storable_text
from penstock_ingress.rules.replies import Refusal, Reply, json_reply
from penstock_ingress.rules.searches import Search, read_search


async def list_things(
    room: Room, environment: str, type_name: str, query: Mapping[str, JsonValue], caller: Caller
) -> Reply:
    """A page of things: `{"response": {"cursor", "results", "count", "remaining"}}`. Raises Refusal."""
    data_type = await _find_exposed_type(room, environment, type_name)
    search = read_search(query)
    seen = visibility(data_type, is_admin=_sees_all(caller, data_type))
    page = await _find(room, environment, data_type, search, seen) if seen.may_find else Page([], None, 0)
    body: dict[str, JsonValue] = {
        "cursor": search.cursor,
        "results": [_show(thing, seen) for thing in page.results],
        "count": len(page.results) if search.limit >= 0 else search.limit,
    }
    if not search.excludes_remaining:
        body["remaining"] = page.remaining or 0
    reply = json_reply(200, {"response": body})
    _meter(room, environment, reply, {Activity.SEARCH: 1, Activity.THING_RETURNED: len(page.results)})
    return reply


async def show_thing(room: Room, environment: str, type_name: str, thing_id: str, caller: Caller) -> Reply:
    """One thing: `{"response": {"_id", …}}`. Raises Refusal."""
    data_type = await _find_exposed_type(room, environment, type_name)
    seen = visibility(data_type, is_admin=_sees_all(caller, data_type))
    thing = None
    if storable_text(thing_id) == thing_id and (seen.fields is None or seen.fields):
        async with room.database.connection() as conn:
            thing = await get_thing(conn, environment=environment, data_type=data_type, id=thing_id)
    if thing is None:
        message = f"Missing object of type {data_type.name}: object with id {thing_id[:100]} does not exist"
        raise Refusal(bubble.wrapped(404, "MISSING_DATA", message))
    reply = json_reply(200, {"response": _show(thing, seen)})
    _meter(room, environment, reply, {Activity.THING_RETURNED: 1})
    return reply


def _sees_all(caller: Caller, data_type: DataType) -> bool:
    return caller.role is not None and caller.sees_payloads and caller.reaches_type(data_type.name)


def _meter(room: Room, environment: str, reply: Reply, read: Mapping[Activity, int]) -> None:
    """Note a request that was answered with things; it belongs to no workflow."""
    size = len(reply.body)
    used = {Activity.API_REQUEST: 1, Activity.API_BYTE: size, Activity.CHARACTER_RETURNED: size, **read}
    room.meter.count(environment, "", used)


async def _find_exposed_type(room: Room, environment: str, name: str) -> DataType:
    return await room.definitions.decide(environment, partial(_exposed_type, name))


async def _exposed_type(name: str, deployment: CompiledDeployment) -> DataType:
    plain = _plain(name)
    for data_type in deployment.app.types.values():
        if plain and data_type.is_in_api and plain in {_plain(data_type.name), _plain(data_type.display)}:
            return data_type
    raise Refusal(bubble.not_found(f"Type not found: {name[:100]}"))


async def _find(room: Room, environment: str, data_type: DataType, search: Search, seen: Visibility) -> Page:
    sort = search.sort_field if search.sort_field and _is_seen(data_type, search.sort_field, seen) else None
    further = tuple((name, falls) for name, falls in search.further_sorts if _is_seen(data_type, name, seen))
    try:
        async with room.database.connection() as conn:
            return await find_things(
                conn,
                environment=environment,
                data_type=data_type,
                where=list(_seen_constraints(data_type, search, seen)),
                order=Order(sort, search.is_descending, further),
                window=Window(search.limit, skip=search.cursor, with_remaining=not search.excludes_remaining),
            )
    except ConstraintProblem as error:
        code = "NOT_FOUND" if error.status == 404 else "ERROR"
        raise Refusal(bubble.wrapped(error.status, code, str(error))) from None


def _seen_constraints(data_type: DataType, search: Search, seen: Visibility) -> Iterator[JsonValue]:
    for constraint in search.constraints:
        key = constraint.get("key") if isinstance(constraint, dict) else None
        if not isinstance(key, str) or _is_seen(data_type, key, seen):
            yield constraint


def _is_seen(data_type: DataType, key: str, seen: Visibility) -> bool:
    """Whether the caller may see the field; a field that does not exist is left to be refused by name."""
    found = find_field(data_type, key)
    return seen.fields is None or found is None or found.name == "_id" or found.name in seen.fields


def _show(thing: Thing, seen: Visibility) -> Thing:
    if seen.fields is None:
        return thing
    return {name: value for name, value in thing.items() if name == "_id" or name in seen.fields}


def _plain(name: str) -> str:
    return name.replace(" ", "").casefold()
