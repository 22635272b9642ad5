"""The console's routes: its pages, its files, and logging in and out. All are open; what a page shows, it asks of the
management API.
"""

import re
from typing import Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from penstock.logs import get_logger
from penstock.store.console_sessions import IDLE_AFTER, LIFETIME
from penstock_ingress.console.assets import answer_asset, render_shell
from penstock_ingress.console.oidc import LOGIN_SECONDS, LoginFailed, OidcLogin, begin, read_begun
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
from penstock_ingress.rules.replies import JSON, Refusal, Reply, json_reply, problem

log = get_logger(__name__)

PREFIX: Final = "/console"
_OWN_ADDRESS: Final = re.compile(r"/console(?:[/?][!-\[\]-~]*)?", re.ASCII)
"""Printable characters but the backslash, which browsers take for a slash."""


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
        router.add_get("/console/oidc/login", self._begin_oidc)
        router.add_get("/console/oidc/callback", self._finish_oidc)
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

    async def _begin_oidc(self, request: web.Request) -> web.Response:
        to = request.query.get("to", PREFIX)
        begun = begin(to if _OWN_ADDRESS.fullmatch(to) else PREFIX)
        try:
            address = await self._oidc().find_address(begun, self._redirect_uri(request))
        except LoginFailed as error:
            return _refuse_login(error)
        response = to_response(_redirect(address))
        self._set_cookie(request, response, self._login_cookie(request), begun.encoded(), LOGIN_SECONDS)
        return response

    async def _finish_oidc(self, request: web.Request) -> web.Response:
        cookie, oidc = self._login_cookie(request), self._oidc()
        try:
            begun = read_begun(request.cookies.get(cookie))
            identity = await oidc.finish(begun, request.query, self._redirect_uri(request))
        except LoginFailed as error:
            return _refuse_login(error)
        session = await self._room.sessions.log_in_as(identity, read_cookie(self._room, request))
        response = to_response(_redirect(begun.to))
        self._set_cookie(request, response, cookie, "", 0)
        return self._with_cookie(request, response, session.secret)

    def _oidc(self) -> OidcLogin:
        if self._room.oidc is None:
            raise Refusal(problem(404, "nobody logs in here but with a token; PENSTOCK_CONSOLE_OIDC_ISSUER is not set"))
        return self._room.oidc

    def _redirect_uri(self, request: web.Request) -> str:
        host = request.headers.get("Host", "")
        return f"{scheme_of(self._room, request)}://{host}{PREFIX}/oidc/callback"

    def _login_cookie(self, request: web.Request) -> str:
        return f"{cookie_name(self._room, request)}_login"

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
        seconds = int(LIFETIME.total_seconds()) if secret else 0
        self._set_cookie(request, response, cookie_name(self._room, request), secret or "", seconds)
        return response

    def _set_cookie(self, request: web.Request, response: web.Response, name: str, value: str, max_age: int) -> None:
        is_https = scheme_of(self._room, request) == "https"
        response.set_cookie(name, value, max_age=max_age, path="/", secure=is_https, httponly=True, samesite="Lax")


def _redirect(address: str) -> Reply:
    return Reply(303, headers={**PRIVATE, "Location": address, "Referrer-Policy": "no-referrer"})


def _refuse_login(error: LoginFailed) -> web.Response:
    """Back to the login page, which has a text for the code; what others have said is not shown there."""
    log.warning("console.login_refused", code=error.code, error=str(error))
    return to_response(_redirect(f"{PREFIX}?refused={error.code}"))
