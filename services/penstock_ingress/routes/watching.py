"""The routes by which an environment is watched."""

from aiohttp import web

from penstock_ingress.handlers import overview
from penstock_ingress.room import Room
from penstock_ingress.routes.requests import read_environment
from penstock_ingress.routes.schedule import Show


class WatchingRoutes:
    """Shows what an environment does."""

    def __init__(self, room: Room, show: Show) -> None:
        self._room = room
        self._show = show

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Declare the routes."""
        router.add_get("/v1/{environment}/overview", self._get_overview)

    async def _get_overview(self, request: web.Request) -> web.Response:
        return self._show(request, await overview.show_overview(self._room, read_environment(request)))
