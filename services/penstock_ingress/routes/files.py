"""`GET /fileupload/{id}/{name}`: files that came with calls of workflows, for everyone who knows the id."""

from aiohttp import web

from penstock_ingress.handlers.files import show_public_file
from penstock_ingress.room import Room
from penstock_ingress.routes.places import Place
from penstock_ingress.rules.replies import Reply


async def answer_file(room: Room, _: web.BaseRequest, place: Place) -> Reply:
    """The file; its name in the path is for people."""
    return await show_public_file(room, place.environment, place.arguments[0])
