"""`/api/1.1/obj/{type}`, `…/{type}/{id}` and `…/{type}/bulk`: the Data API."""

from aiohttp import web

from penstock.domain.callers import Caller
from penstock_ingress.accepting.exposed import Exposed
from penstock_ingress.handlers.changing_things import change_thing, create_thing, create_things, delete_thing, find_type
from penstock_ingress.handlers.things import list_things, show_thing
from penstock_ingress.room import Room
from penstock_ingress.routes.places import Place
from penstock_ingress.routes.transport import receive
from penstock_ingress.routes.workflows import BODY_SECONDS, identify, read_query
from penstock_ingress.rules.replies import Reply


async def answer_things(room: Room, request: web.BaseRequest, place: Place) -> Reply:
    """A page of things, or a new one."""
    query, token = read_query(request)
    caller = await identify(room, request, token, place.environment)
    if request.method == "POST":
        exposed = await find_type(room, place.environment, place.arguments[0])
        with await receive(request, most=room.settings.max_body_bytes, seconds=BODY_SECONDS) as body:
            return await create_thing(room, exposed, caller, (body.data, _content_type(request)))
    return await list_things(room, place.environment, place.arguments[0], query, caller)


async def answer_thing(room: Room, request: web.BaseRequest, place: Place) -> Reply:
    """One thing: shown, changed, replaced or deleted."""
    _, token = read_query(request)
    caller = await identify(room, request, token, place.environment)
    if request.method == "GET":
        return await show_thing(room, place.environment, place.arguments[0], place.arguments[1], caller)
    exposed = await find_type(room, place.environment, place.arguments[0])
    if request.method == "DELETE":
        return await delete_thing(room, exposed, caller, place.arguments[1])
    return await _change(room, request, exposed, caller, place.arguments[1])


async def answer_bulk(room: Room, request: web.BaseRequest, place: Place) -> Reply:
    """Many new things, one for each line."""
    _, token = read_query(request)
    caller = await identify(room, request, token, place.environment)
    exposed = await find_type(room, place.environment, place.arguments[0])
    with await receive(request, most=room.settings.max_body_bytes, seconds=BODY_SECONDS) as body:
        return await create_things(room, exposed, caller, (body.data, _content_type(request)))


async def _change(room: Room, request: web.BaseRequest, exposed: Exposed, caller: Caller, id: str) -> Reply:
    with await receive(request, most=room.settings.max_body_bytes, seconds=BODY_SECONDS) as body:
        content = (body.data, _content_type(request))
        return await change_thing(room, exposed, caller, id, content, replaces=request.method == "PUT")


def _content_type(request: web.BaseRequest) -> str:
    return request.headers.get("Content-Type", "")
