"""`GET /api/1.1/meta` and `/api/1.1/meta/swagger.json`."""

from aiohttp import web

from penstock_ingress.handlers.meta import show_meta, show_swagger
from penstock_ingress.room import Room
from penstock_ingress.routes.places import Place
from penstock_ingress.routes.workflows import identify, read_query
from penstock_ingress.rules.replies import Reply


async def answer_meta(room: Room, request: web.BaseRequest, place: Place) -> Reply:
    """What is exposed here, in Bubble's own form."""
    _, token = read_query(request)
    return await show_meta(room, place.environment, await identify(room, request, token, place.environment))


async def answer_swagger(room: Room, request: web.BaseRequest, place: Place) -> Reply:
    """The same as Swagger 2.0."""
    _, token = read_query(request)
    caller = await identify(room, request, token, place.environment)
    return await show_swagger(room, place.environment, place.prefix, caller)
