"""`/api/1.1/obj/{type}`, `…/{type}/{id}` and `…/{type}/bulk`: the Data API."""

from collections.abc import Mapping

from aiohttp import web
from pydantic import JsonValue

from penstock.domain.callers import Caller
from penstock_ingress.handlers.changing_things import (
    Asked,
    change_thing,
    create_thing,
    create_things,
    delete_thing,
    find_type,
)
from penstock_ingress.handlers.many_things import LINES, change_many, delete_many, stream_things
from penstock_ingress.handlers.things import list_things, show_thing
from penstock_ingress.room import Room
from penstock_ingress.routes.places import Place
from penstock_ingress.routes.transport import receive
from penstock_ingress.routes.workflows import BODY_SECONDS, identify, read_query
from penstock_ingress.rules.demands import Demands, read_demands
from penstock_ingress.rules.headers import read_idempotency_key
from penstock_ingress.rules.replies import Reply


async def answer_things(room: Room, request: web.BaseRequest, place: Place) -> Reply:
    """A page of things, or a new one."""
    query, token = read_query(request)
    caller = await identify(room, request, token, place.environment)
    if request.method == "POST":
        exposed = await find_type(room, place.environment, place.arguments[0])
        with await receive(request, most=room.settings.max_body_bytes, seconds=BODY_SECONDS) as body:
            demands = read_demands(request.headers, query)
            return await create_thing(room, Asked(exposed, caller, demands, (body.data, _content_type(request))))
    if request.method in {"PATCH", "DELETE"}:
        return await _change_many(room, request, caller, place, query)
    if LINES in request.headers.get("Accept", ""):
        exposed = await find_type(room, place.environment, place.arguments[0])
        return await stream_things(room, Asked(exposed, caller), query)
    return await list_things(room, place.environment, place.arguments[0], query, caller)


async def _change_many(
    room: Room, request: web.BaseRequest, caller: Caller, place: Place, query: Mapping[str, JsonValue]
) -> Reply:
    asked = Asked(await find_type(room, place.environment, place.arguments[0]), caller)
    if request.method == "DELETE":
        return await delete_many(room, asked, query)
    with await receive(request, most=room.settings.max_body_bytes, seconds=BODY_SECONDS) as body:
        return await change_many(room, asked._replace(content=(body.data, _content_type(request))), query)


async def answer_thing(room: Room, request: web.BaseRequest, place: Place) -> Reply:
    """One thing: shown, changed, replaced or deleted."""
    query, token = read_query(request)
    caller = await identify(room, request, token, place.environment)
    if request.method == "GET":
        return await show_thing(room, place.environment, place.arguments[0], place.arguments[1], caller)
    exposed = await find_type(room, place.environment, place.arguments[0])
    asked = Asked(exposed, caller, read_demands(request.headers, query))
    if request.method == "DELETE":
        return await delete_thing(room, asked, place.arguments[1])
    return await _change(room, request, asked, place.arguments[1])


async def answer_bulk(room: Room, request: web.BaseRequest, place: Place) -> Reply:
    """Many new things, one for each line."""
    _, token = read_query(request)
    caller = await identify(room, request, token, place.environment)
    exposed = await find_type(room, place.environment, place.arguments[0])
    with await receive(request, most=room.settings.max_body_bytes, seconds=BODY_SECONDS) as body:
        demands = Demands(read_idempotency_key(request.headers.getall("Idempotency-Key", ())))
        return await create_things(room, Asked(exposed, caller, demands, (body.data, _content_type(request))))


async def _change(room: Room, request: web.BaseRequest, asked: Asked, id: str) -> Reply:
    with await receive(request, most=room.settings.max_body_bytes, seconds=BODY_SECONDS) as body:
        whole = asked._replace(content=(body.data, _content_type(request)))
        return await change_thing(room, whole, id, replaces=request.method == "PUT")


def _content_type(request: web.BaseRequest) -> str:
    return request.headers.get("Content-Type", "")
