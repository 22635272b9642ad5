"""The routes by which an environment is watched."""

from collections.abc import AsyncGenerator, Sequence

from aiohttp import web

from penstock_ingress.handlers import overview
from penstock_ingress.room import Room
from penstock_ingress.routes.requests import read_environment
from penstock_ingress.routes.schedule import Show
from penstock_ingress.routes.streams import CheckCaller, ShownEvent, send_stream


class WatchingRoutes:
    """Shows what an environment does, and that it has changed. `check_caller` is asked again while somebody watches."""

    def __init__(self, room: Room, show: Show, check_caller: CheckCaller) -> None:
        self._room = room
        self._show = show
        self._check_caller = check_caller

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Declare the routes."""
        router.add_get("/v1/{environment}/overview", self._get_overview)
        router.add_get("/v1/{environment}/stream", self._send_changes)

    async def _get_overview(self, request: web.Request) -> web.Response:
        return self._show(request, await overview.show_overview(self._room, read_environment(request)))

    async def _send_changes(self, request: web.Request) -> web.StreamResponse:
        changes = _as_events(self._room, read_environment(request))
        return await send_stream(self._room, request, changes, self._check_caller)


async def _as_events(room: Room, environment: str) -> AsyncGenerator[Sequence[ShownEvent], None]:
    changes = overview.watch(room, environment)
    try:
        async for one in changes:
            yield [ShownEvent(one, name="changes")]
    finally:
        await changes.aclose()
