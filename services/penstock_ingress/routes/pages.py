"""What a browser finds on both ports: the first page, `/docs` and `/openapi.json`. Open to everyone.

The first page of the admin port is the console; its page `/about` names what is deployed. So does the description of
the public port, unless PENSTOCK_HIDE_API_DOCUMENTATION keeps that for admins.
"""

from collections.abc import Mapping
from functools import cache

from aiohttp import web
from pydantic import JsonValue
from yarl import URL

from penstock_ingress.console.assets import render_shell
from penstock_ingress.handlers.meta import find_openapi
from penstock_ingress.handlers.serving import describe_serving
from penstock_ingress.room import Room
from penstock_ingress.routes.openapi import describe_management
from penstock_ingress.routes.places import Place
from penstock_ingress.routes.public_openapi import describe_public
from penstock_ingress.routes.transport import to_response
from penstock_ingress.routes.workflows import identify, read_query
from penstock_ingress.rules.front import admin_as_html, admin_as_json, public_as_html, public_as_json
from penstock_ingress.rules.html import prefers_html
from penstock_ingress.rules.reference import render_reference
from penstock_ingress.rules.replies import Reply, json_reply

OPEN_PATHS = frozenset({"/", "/about", "/docs", "/openapi.json"})


def add_pages(app: web.Application, room: Room) -> None:
    """Add the pages of the admin port."""

    async def show_front(request: web.Request) -> web.Response:
        if prefers_html(request.headers.get("Accept")):
            return to_response(render_shell())
        return to_response(admin_as_json(await describe_serving(room)))

    async def show_about(request: web.Request) -> web.Response:
        serving = await describe_serving(room)
        return to_response(admin_as_html(serving, _find_origin(request), room.settings.port))

    async def show_docs(_: web.Request) -> web.Response:
        return to_response(_management_page())

    async def describe(_: web.Request) -> web.Response:
        return to_response(json_reply(200, describe_management()))

    app.router.add_get("/", show_front)
    app.router.add_get("/about", show_about)
    app.router.add_get("/docs", show_docs)
    app.router.add_get("/openapi.json", describe)


async def answer_front(_: Room, request: web.BaseRequest, __: Place) -> Reply:
    """The first page of the public port."""
    return public_as_html() if prefers_html(request.headers.get("Accept")) else public_as_json()


async def answer_docs(room: Room, request: web.BaseRequest, place: Place) -> Reply:
    """The description of the public port, for people."""
    return render_reference(await _describe(room, request, place), f"{place.prefix}/openapi.json")


async def answer_openapi(room: Room, request: web.BaseRequest, place: Place) -> Reply:
    """The same for programs."""
    return json_reply(200, await _describe(room, request, place))


async def _describe(room: Room, request: web.BaseRequest, place: Place) -> Mapping[str, JsonValue]:
    _, token = read_query(request)
    caller = await identify(room, request, token, place.environment)
    return await find_openapi(room, place.environment, caller, describe_public())


def _find_origin(request: web.Request) -> URL:
    try:
        return request.url.origin()
    except ValueError:  # the Host header is not a host name
        return URL.build(scheme="http", host="localhost")


@cache
def _management_page() -> Reply:
    return render_reference(describe_management())
