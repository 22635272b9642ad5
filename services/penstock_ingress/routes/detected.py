"""The routes of the management API about parameters that samples suggest."""

from aiohttp import web

from penstock_ingress.handlers import detecting
from penstock_ingress.room import Room
from penstock_ingress.routes.requests import ACTOR, read_environment
from penstock_ingress.routes.schedule import Show


class DetectedRoutes:
    """Shows what was detected, and notes that it is taken over."""

    def __init__(self, room: Room, show: Show) -> None:
        self._room = room
        self._show = show

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Declare the routes."""
        router.add_get("/v1/{environment}/detected", self._list)
        router.add_get("/v1/{environment}/detected/{name}", self._get)
        router.add_post("/v1/{environment}/detected/{name}/accept", self._accept)

    async def _list(self, request: web.Request) -> web.Response:
        return self._show(request, await detecting.show_detected(self._room, read_environment(request), request.query))

    async def _get(self, request: web.Request) -> web.Response:
        environment, name = read_environment(request), request.match_info["name"]
        return self._show(request, await detecting.show_one_detected(self._room, environment, name))

    async def _accept(self, request: web.Request) -> web.Response:
        environment, name = read_environment(request), request.match_info["name"]
        return self._show(request, await detecting.accept_detected(self._room, environment, name, request[ACTOR]))
