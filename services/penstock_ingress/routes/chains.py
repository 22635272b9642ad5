"""The routes of the management API about whole chains."""

from aiohttp import web

from penstock_ingress.handlers import chains
from penstock_ingress.handlers.management import show_chain
from penstock_ingress.room import Room
from penstock_ingress.routes.requests import ACTOR, read_environment, read_id, read_model
from penstock_ingress.routes.schedule import Show
from penstock_ingress.rules.management import ChainResumeRequest, ChainStopRequest


class ChainRoutes:
    """Shows chains, stops and resumes them."""

    def __init__(self, room: Room, show: Show) -> None:
        self._room = room
        self._show = show

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Declare the routes."""
        router.add_get("/v1/{environment}/chains", self._list)
        router.add_get("/v1/{environment}/chains/{id}", self._get)
        router.add_get("/v1/{environment}/chains/{id}/tree", self._draw)
        router.add_get("/v1/{environment}/chains/{id}/folded", self._list_folded)
        router.add_post("/v1/{environment}/chains/{id}/stop", self._stop)
        router.add_post("/v1/{environment}/chains/{id}/resume", self._resume)

    async def _list(self, request: web.Request) -> web.Response:
        return self._show(request, await chains.show_chains(self._room, read_environment(request), request.query))

    async def _get(self, request: web.Request) -> web.Response:
        environment, id = read_environment(request), read_id(request)
        return self._show(request, await show_chain(self._room, environment, id, request.query))

    async def _draw(self, request: web.Request) -> web.Response:
        environment, id = read_environment(request), read_id(request)
        return self._show(request, await chains.show_picture(self._room, environment, id, request.query))

    async def _list_folded(self, request: web.Request) -> web.Response:
        environment, id = read_environment(request), read_id(request)
        return self._show(request, await chains.show_folded(self._room, environment, id, request.query))

    async def _stop(self, request: web.Request) -> web.Response:
        wanted = await read_model(request, ChainStopRequest, is_optional=True)
        environment, id = read_environment(request), read_id(request)
        return self._show(request, await chains.stop(self._room, environment, id, wanted, request[ACTOR]))

    async def _resume(self, request: web.Request) -> web.Response:
        wanted = await read_model(request, ChainResumeRequest, is_optional=True)
        environment, id = read_environment(request), read_id(request)
        return self._show(request, await chains.resume(self._room, environment, id, wanted, request[ACTOR]))
