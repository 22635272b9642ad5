"""The routes of the management API about tokens."""

from aiohttp import web

from penstock_ingress.handlers import tokens
from penstock_ingress.room import Room
from penstock_ingress.routes.requests import CALLER, read_environment, read_id, read_model
from penstock_ingress.routes.schedule import Show
from penstock_ingress.rules.management import WantedToken


class TokenRoutes:
    """Makes tokens, lists and revokes them."""

    def __init__(self, room: Room, show: Show) -> None:
        self._room = room
        self._show = show

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Declare the routes."""
        router.add_get("/v1/{environment}/tokens", self._list)
        router.add_post("/v1/{environment}/tokens", self._make)
        router.add_delete("/v1/{environment}/tokens/{id}", self._revoke)

    async def _list(self, request: web.Request) -> web.Response:
        return self._show(request, await tokens.show_tokens(self._room, read_environment(request), request.query))

    async def _make(self, request: web.Request) -> web.Response:
        environment, wanted = read_environment(request), await read_model(request, WantedToken)
        made = await tokens.make_token(self._room, environment, wanted, request[CALLER])
        return self._show(request, made, 201, {"Cache-Control": "no-store"})

    async def _revoke(self, request: web.Request) -> web.Response:
        revoked = await tokens.end_token(self._room, read_environment(request), read_id(request), request[CALLER])
        return self._show(request, revoked)
