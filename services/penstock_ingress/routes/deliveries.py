"""The routes of the management API about deliveries and their sources."""

from aiohttp import web

from penstock_ingress.handlers import replays
from penstock_ingress.handlers.sources import show_sources
from penstock_ingress.room import Room
from penstock_ingress.routes.requests import ACTOR, read_environment, read_id, read_model
from penstock_ingress.routes.schedule import Show
from penstock_ingress.rules.headers import read_idempotency_key
from penstock_ingress.rules.management import DeliveryChoice


class DeliveryRoutes:
    """Lists deliveries, shows and replays them."""

    def __init__(self, room: Room, show: Show) -> None:
        self._room = room
        self._show = show

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Declare the routes."""
        router.add_get("/v1/{environment}/sources", self._list_sources)
        router.add_get("/v1/{environment}/deliveries", self._list)
        router.add_post("/v1/{environment}/deliveries/replay", self._replay_many)
        router.add_get("/v1/{environment}/deliveries/{id}", self._get)
        router.add_post("/v1/{environment}/deliveries/{id}/replay", self._replay)

    async def _list_sources(self, request: web.Request) -> web.Response:
        return self._show(request, await show_sources(self._room, read_environment(request)))

    async def _list(self, request: web.Request) -> web.Response:
        environment = read_environment(request)
        return self._show(request, await replays.show_deliveries(self._room, environment, request.query))

    async def _get(self, request: web.Request) -> web.Response:
        return self._show(request, await replays.show_delivery(self._room, read_environment(request), read_id(request)))

    async def _replay(self, request: web.Request) -> web.Response:
        environment, key = read_environment(request), _read_key(request)
        call = replays.ReplayCall(environment, read_id(request), key, request[ACTOR])
        replay, is_new = await replays.replay_delivery(self._room, call)
        location = {"Location": f"/v1/{environment}/deliveries/{replay.id}"}
        if is_new:
            return self._show(request, replay, 201, location)
        return self._show(request, replay, 200, {**location, "Idempotent-Replayed": "true"})

    async def _replay_many(self, request: web.Request) -> web.Response:
        environment, wanted = read_environment(request), await read_model(request, DeliveryChoice)
        actor, key = request[ACTOR], _read_key(request)
        begun = await replays.replay_deliveries(self._room, environment, wanted, actor, key)
        return self._show(request, begun, 202, {"Location": f"/v1/{environment}/operations/{begun.id}"})


def _read_key(request: web.Request) -> str | None:
    return read_idempotency_key(request.headers.getall("Idempotency-Key", ()))
