"""`GET /api/1.1/obj/{type}` and `GET /api/1.1/obj/{type}/{id}`: the Data API, to be read."""

from aiohttp import web

from penstock_ingress.handlers.things import list_things, show_thing
from penstock_ingress.room import Room
from penstock_ingress.routes.places import Place
from penstock_ingress.routes.workflows import identify, read_query
from penstock_ingress.rules.replies import Reply


async def answer_list(room: Room, request: web.BaseRequest, place: Place) -> Reply:
    """A page of things."""
    query, token = read_query(request)
    caller = await identify(room, request, token, place.environment)
    return await list_things(room, place.environment, place.arguments[0], query, caller)


async def answer_thing(room: Room, request: web.BaseRequest, place: Place) -> Reply:
    """One thing."""
    _, token = read_query(request)
    caller = await identify(room, request, token, place.environment)
    return await show_thing(room, place.environment, place.arguments[0], place.arguments[1], caller)
