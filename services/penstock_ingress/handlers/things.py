"""Reads things through the Data API, under the privacy rules of their types.

What the caller may not find is answered like what does not exist. A constraint or an order on a field that the caller
may see of no thing is refused, or dropped as Bubble does (PENSTOCK_HIDDEN_CONSTRAINTS): see `penstock.things.privacy`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import JsonValue

from penstock.definitions.fields import internal_field_id
from penstock.domain.callers import Caller
from penstock.domain.workload import Activity
from penstock.things.clauses import ConstraintProblem
from penstock.things.constraints import Restricted
from penstock.things.ordering import Order
from penstock.things.privacy import Viewer
from penstock.things.records import Page, Thing, Window, find_things, get_thing
from penstock_ingress.accepting.exposed import Exposed, find_exposed_type, find_viewer
from penstock_ingress.room import Room
from penstock_ingress.rules import bubble
from penstock_ingress.rules.demands import etag_of
from penstock_ingress.rules.headers import storable_text
from penstock_ingress.rules.replies import Refusal, Reply, json_reply
from penstock_ingress.rules.searches import Search, read_search


async def list_things(
    room: Room, environment: str, type_name: str, query: Mapping[str, JsonValue], caller: Caller
) -> Reply:
    """A page of things: `{"response": {"cursor", "results", "count", "remaining"}}`. Raises Refusal."""
    exposed = await find_exposed_type(room.definitions, environment, type_name)
    search = read_search(query)
    page = await _find_page(room, exposed, search, caller)
    body: dict[str, JsonValue] = {
        "cursor": search.cursor,
        "results": _show(room, exposed, page.results),
        "count": len(page.results) if search.limit >= 0 else search.limit,
    }
    if search.after is not None:
        body["after"] = page.after
    elif not search.excludes_remaining:
        body["remaining"] = page.remaining or 0
    reply = json_reply(200, {"response": body})
    meter(room, environment, len(reply.body), {Activity.SEARCH: 1, Activity.THING_RETURNED: len(page.results)})
    return reply


async def show_thing(room: Room, environment: str, type_name: str, thing_id: str, caller: Caller) -> Reply:
    """One thing: `{"response": {"_id", …}}`. Raises Refusal."""
    exposed = await find_exposed_type(room.definitions, environment, type_name)
    viewer = await find_viewer(room.database, exposed, caller)
    thing = None
    if storable_text(thing_id) == thing_id:
        async with room.database.connection() as conn:
            thing = await get_thing(
                conn, environment=environment, data_type=exposed.data_type, id=thing_id, viewer=viewer
            )
    if thing is None:
        raise missing(exposed, thing_id)
    shown = _show(room, exposed, [thing])[0]
    reply = json_reply(200, {"response": shown}, {"ETag": etag_of(thing)})
    meter(room, environment, len(reply.body), {Activity.THING_RETURNED: 1})
    return reply


def missing(exposed: Exposed, thing_id: str) -> Refusal:
    """404: there is no such thing, or the caller may not find it."""
    message = f"Missing object of type {exposed.data_type.name}: object with id {thing_id[:100]} does not exist"
    return Refusal(bubble.wrapped(404, "MISSING_DATA", message))


def meter(room: Room, environment: str, size: int, read: Mapping[Activity, int]) -> None:
    """Note a request that was answered; it belongs to no workflow."""
    used = {Activity.API_REQUEST: 1, Activity.API_BYTE: size, Activity.CHARACTER_RETURNED: size, **read}
    room.meter.count(environment, "", used)


async def _find_page(room: Room, exposed: Exposed, search: Search, caller: Caller) -> Page:
    """The page that is asked for; one deep in a list begins behind the one before it, where that is remembered."""
    viewer = await find_viewer(room.database, exposed, caller)
    if search.after is not None:
        return await _find(room, exposed, search, viewer, Window(search.limit, search.after or None))
    counts = not search.excludes_remaining
    key = (exposed.environment, exposed.data_type.name, repr(replace(search, cursor=0, limit=0)), repr(caller))
    known = room.positions.find(key, search.cursor)
    page = None
    if known is not None:
        window = Window(search.limit, known.token, skip=search.cursor - known.before, with_remaining=counts)
        try:
            page = await _find(room, exposed, search, viewer, window)
        except Refusal:
            room.positions.forget(key)  # the field by which it is sorted has another type since
    if page is None:
        page = await _find(
            room, exposed, search, viewer, Window(search.limit, skip=search.cursor, with_remaining=counts)
        )
    room.positions.note(key, search.cursor + len(page.results), page.after)
    return page


async def _find(room: Room, exposed: Exposed, search: Search, viewer: Viewer, window: Window) -> Page:
    where = Restricted(search.constraints, viewer, drops_hidden=room.settings.hidden_constraints == "drop")
    order = Order(search.sort_field, search.is_descending, search.further_sorts, search.near)
    try:
        async with room.database.connection() as conn:
            with room.slow_searches.watch(exposed.environment, exposed.data_type, where, order):
                return await find_things(
                    conn,
                    environment=exposed.environment,
                    data_type=exposed.data_type,
                    where=where,
                    order=order,
                    window=window,
                )
    except ConstraintProblem as error:
        code = "NOT_FOUND" if error.status == 404 else "ERROR"
        raise Refusal(bubble.wrapped(error.status, code, str(error))) from None


def _show(room: Room, exposed: Exposed, things: Sequence[Thing]) -> list[JsonValue]:
    """The things without empty texts, as empty fields are left out, and with the names of fields that are wanted."""
    names: dict[str, str] = {}
    if room.settings.data_api_keys == "id":
        names = {known.name: internal_field_id(known) for known in exposed.data_type.fields}
    return [{names.get(name, name): value for name, value in thing.items() if value != ""} for thing in things]
