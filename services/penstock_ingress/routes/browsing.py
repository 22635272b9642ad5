"""The routes of the management API by which an app's data is looked at."""

from aiohttp import web

from penstock_ingress.handlers import browsing
from penstock_ingress.room import Room
from penstock_ingress.routes.requests import CALLER, read_environment
from penstock_ingress.routes.schedule import Show


class BrowsingRoutes:
    """Shows data types, and things of one."""

    def __init__(self, room: Room, show: Show) -> None:
        self._room = room
        self._show = show

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Declare the routes."""
        router.add_get("/v1/{environment}/data", self._list_types)
        router.add_get("/v1/{environment}/data/{name}", self._list_things)

    async def _list_types(self, request: web.Request) -> web.Response:
        environment, caller = read_environment(request), request[CALLER]
        return self._show(request, await browsing.show_types(self._room, environment, caller))

    async def _list_things(self, request: web.Request) -> web.Response:
        environment, caller, name = read_environment(request), request[CALLER], request.match_info["name"]
        return self._show(request, await browsing.show_things(self._room, environment, name, request.query, caller))
