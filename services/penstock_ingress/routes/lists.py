"""The routes of the management API about lists."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final
from uuid import UUID

from aiohttp import web

from penstock.runs.views.models import Shown
from penstock_ingress.handlers import lists, new_lists
from penstock_ingress.room import Room
from penstock_ingress.routes.permissions import check_workflow
from penstock_ingress.routes.requests import ACTOR, CALLER, read_environment, read_id, read_model
from penstock_ingress.routes.schedule import Show
from penstock_ingress.rules.headers import read_idempotency_key
from penstock_ingress.rules.management import NewList

_Verb = Callable[[Room, str, UUID, str], Awaitable[Shown]]
_VERBS: Final[tuple[tuple[str, _Verb, int], ...]] = (
    ("pause", lists.pause_list, 200),
    ("resume", lists.resume_list, 200),
    ("cancel", lists.cancel_list, 202),
    ("retry", lists.retry_list, 202),
)


class ListRoutes:
    """Begins lists, shows how far they are, and steers them."""

    def __init__(self, room: Room, show: Show) -> None:
        self._room = room
        self._show = show

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Declare the routes."""
        router.add_get("/v1/{environment}/lists", self._list)
        router.add_post("/v1/{environment}/lists", self._create)
        router.add_post("/v1/{environment}/lists/estimate", self._estimate)
        router.add_get("/v1/{environment}/lists/{id}", self._get)
        for name, verb, status in _VERBS:
            router.add_post(f"/v1/{{environment}}/lists/{{id}}/{name}", partial(self._steer, verb, status))

    async def _list(self, request: web.Request) -> web.Response:
        return self._show(request, await lists.show_lists(self._room, read_environment(request), request.query))

    async def _create(self, request: web.Request) -> web.Response:
        environment, wanted = read_environment(request), await self._read(request)
        key = read_idempotency_key(request.headers.getall("Idempotency-Key", ()))
        made, is_new = await new_lists.create_list(self._room, environment, wanted, key)
        location = {"Location": f"/v1/{environment}/lists/{made.id}"}
        replayed = {} if is_new else {"Idempotent-Replayed": "true"}
        return self._show(request, made, 201 if is_new else 200, {**location, **replayed})

    async def _estimate(self, request: web.Request) -> web.Response:
        environment, wanted = read_environment(request), await self._read(request)
        return self._show(request, await new_lists.estimate_list(self._room, environment, wanted))

    async def _read(self, request: web.Request) -> NewList:
        wanted = await read_model(request, NewList)
        for workflow in (wanted.workflow, wanted.then or wanted.workflow):
            check_workflow(request[CALLER], workflow)
        return wanted

    async def _get(self, request: web.Request) -> web.Response:
        return self._show(request, await lists.show_list(self._room, read_environment(request), read_id(request)))

    async def _steer(self, verb: _Verb, status: int, request: web.Request) -> web.Response:
        done = await verb(self._room, read_environment(request), read_id(request), request[ACTOR])
        return self._show(request, done, status)
