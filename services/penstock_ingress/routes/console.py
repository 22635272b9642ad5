"""The console's routes: its pages, its files, and logging in and out. All are open; what a page shows, it asks of the
management API.
"""

from typing import Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from penstock.store.console_sessions import IDLE_AFTER, LIFETIME
from penstock_ingress.console.assets import answer_asset, render_shell
from penstock_ingress.console.sessions import Session
from penstock_ingress.handlers.console import describe_console
from penstock_ingress.room import Room
from penstock_ingress.routes.callers import (
    PRIVATE,
    check_confirmed,
    check_own_page,
    cookie_name,
    find_session,
    read_cookie,
    scheme_of,
)
from penstock_ingress.routes.requests import read_model
from penstock_ingress.routes.transport import address_of, to_response
from penstock_ingress.rules.replies import JSON, Refusal, json_reply, problem

PREFIX: Final = "/console"


class Login(BaseModel):
    """What logs somebody in."""

    model_config = ConfigDict(extra="forbid", strict=True)

    token: str = Field(min_length=1, max_length=10_000)


def is_of_console(path: str) -> bool:
    """Whether a path belongs to the console."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


class ConsoleRoutes:
    """Serves the console."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Declare the routes; the last one takes every address that a page has."""
        router.add_get("/console/session", self._show_session)
        router.add_post("/console/session", self._log_in)
        router.add_delete("/console/session", self._log_out)
        router.add_get("/console/static/{build}/{name:.+}", self._send_asset)
        router.add_get("/console", self._show_shell)
        router.add_get("/console/{page:.*}", self._show_shell)

    async def _show_shell(self, _: web.Request) -> web.Response:
        return to_response(render_shell())

    async def _send_asset(self, request: web.Request) -> web.Response:
        encodings = request.headers.get("Accept-Encoding", "")
        return to_response(answer_asset(request.match_info["build"], request.match_info["name"], encodings))

    async def _show_session(self, request: web.Request) -> web.Response:
        return await self._answer(await find_session(self._room, request))

    async def _log_in(self, request: web.Request) -> web.Response:
        check_own_page(self._room, request)
        if request.content_type != JSON:
            raise Refusal(problem(415, f'send {JSON}, such as {{"token": "…"}}'))
        wanted = await read_model(request, Login)
        replaced = read_cookie(self._room, request)
        session = await self._room.sessions.log_in(wanted.token.strip(), address_of(self._room, request), replaced)
        if session is None:
            raise Refusal(problem(401, "this is not an admin token that holds; check that all of it was copied"))
        return self._with_cookie(request, await self._answer(session), session.secret)

    async def _log_out(self, request: web.Request) -> web.Response:
        session = await find_session(self._room, request)
        if session is not None:
            check_own_page(self._room, request)
            check_confirmed(request, session)
            await self._room.sessions.log_out(session)
        return self._with_cookie(request, await self._answer(None), None)

    async def _answer(self, session: Session | None) -> web.Response:
        caller = None if session is None else session.caller
        document = {
            "session": None
            if session is None or caller is None
            else {
                "name": caller.name,
                "role": caller.role,
                "environment": caller.environment,
                "workflows": None if caller.workflows is None else sorted(caller.workflows),
                "payloads": caller.sees_payloads,
                "expires_at": session.expires_at,
                "idle_seconds": int(IDLE_AFTER.total_seconds()),
                "csrf_token": session.csrf_token,
            },
            **describe_console(self._room),
        }
        return to_response(json_reply(200, document, PRIVATE))

    def _with_cookie(self, request: web.Request, response: web.Response, secret: str | None) -> web.Response:
        """Sets the session's cookie, or with None removes it."""
        is_https = scheme_of(self._room, request) == "https"
        response.set_cookie(
            cookie_name(self._room, request),
            secret or "",
            max_age=int(LIFETIME.total_seconds()) if secret else 0,
            path="/",
            secure=is_https,
            httponly=True,
            samesite="Lax",
        )
        return response
