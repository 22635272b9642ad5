"""The routes of the management API about dead letters."""

from functools import partial

from aiohttp import web

from penstock.domain.dead_letters import LetterVerb
from penstock_ingress.handlers import dead_letters
from penstock_ingress.room import Room
from penstock_ingress.routes.permissions import check_choice
from penstock_ingress.routes.requests import ACTOR, CALLER, read_environment, read_id, read_model
from penstock_ingress.routes.schedule import Show
from penstock_ingress.rules.dead_letters import LetterChoice, LetterNote


class DeadLetterRoutes:
    """Lists and shows dead letters; retries, discards and resolves them."""

    def __init__(self, room: Room, show: Show) -> None:
        self._room = room
        self._show = show

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Declare the routes."""
        router.add_get("/v1/{environment}/dead-letters", self._list)
        router.add_get("/v1/{environment}/dead-letters/{id}", self._get)
        for verb in LetterVerb:
            router.add_post(f"/v1/{{environment}}/dead-letters/{verb}", partial(self._handle_many, verb))
            router.add_post(f"/v1/{{environment}}/dead-letters/{{id}}/{verb}", partial(self._handle, verb))

    async def _list(self, request: web.Request) -> web.Response:
        environment = read_environment(request)
        return self._show(request, await dead_letters.show_letters(self._room, environment, request.query))

    async def _get(self, request: web.Request) -> web.Response:
        found = await dead_letters.show_letter(self._room, read_environment(request), read_id(request))
        return self._show(request, found)

    async def _handle(self, verb: LetterVerb, request: web.Request) -> web.Response:
        wanted = await read_model(request, LetterNote, is_optional=True)
        act = dead_letters.ask(verb, request[ACTOR], wanted.note)
        return self._show(
            request, await dead_letters.handle_letter(self._room, read_environment(request), read_id(request), act)
        )

    async def _handle_many(self, verb: LetterVerb, request: web.Request) -> web.Response:
        environment, wanted = read_environment(request), await read_model(request, LetterChoice)
        check_choice(request[CALLER], wanted)
        begun = await dead_letters.handle_many(self._room, environment, verb, wanted, request[ACTOR])
        return self._show(request, begun, 202, {"Location": f"/v1/{environment}/operations/{begun.id}"})
