"""Who calls the management API: the bearer of an admin token, or somebody who is logged in to the console.

A browser sends the console's cookie with requests that other pages make it send, too. So a request that comes with the
cookie alone and changes something has to be one of our own pages: by what the browser says of its origin
(`Sec-Fetch-Site`, else `Origin`), and by a header with the session's second secret, which other pages cannot read.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from penstock.domain.callers import Caller
from penstock_ingress.console.sessions import Session
from penstock_ingress.room import Room
from penstock_ingress.routes.transport import address_of
from penstock_ingress.rules.client_address import find_scheme
from penstock_ingress.rules.headers import read_token
from penstock_ingress.rules.replies import Refusal, problem

CSRF_HEADER: Final = "X-CSRF-Token"
BACKGROUND_HEADER: Final = "X-Penstock-Background"
"""With it a page refreshes itself: nobody has done anything, and the session becomes idle."""
SESSION: Final = web.RequestKey("session", Session)
PRIVATE: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of what is answered to a session: no browser keeps it, shows it as a page, or lets another page have it."""
_SAFE: Final = frozenset({"GET", "HEAD"})


async def identify_admin(room: Room, request: web.Request) -> Caller:
    """Who calls. Raises Refusal (401, 403)."""
    caller = await (_find_bearer if "Authorization" in request.headers else _find_session_caller)(room, request)
    if caller is None or caller.role is None:
        detail = (
            "an admin token is needed: send it as Authorization: Bearer …; PENSTOCK_ADMIN_TOKEN sets one, "
            "`penstock token create` makes others"
        )
        raise Refusal(problem(401, detail, {"WWW-Authenticate": "Bearer"}))
    return caller


async def _find_bearer(room: Room, request: web.Request) -> Caller | None:
    token: str | None = None
    with suppress(ValueError):
        token = read_token(request.headers.get("Authorization"), None)
    return await room.access.identify(token, request.match_info.get("environment"), address_of(room, request))


async def _find_session_caller(room: Room, request: web.Request) -> Caller | None:
    session = await find_session(room, request)
    if session is None:
        return None
    if request.method not in _SAFE:
        check_own_page(room, request)
        check_confirmed(request, session)
    request[SESSION] = session
    environment, held = request.match_info.get("environment"), session.caller.environment
    return session.caller if environment is None or held in {None, environment} else None


async def find_session(room: Room, request: web.Request) -> Session | None:
    """The session of the request's cookie, if it holds."""
    secret = read_cookie(room, request)
    if secret is None:
        return None
    is_stream = "text/event-stream" in request.headers.get("Accept", "")
    return await room.sessions.find(secret, is_used=not is_stream and BACKGROUND_HEADER not in request.headers)


def check_own_page(room: Room, request: web.Request) -> None:
    """Raises Refusal (403) unless a page of this origin has made the browser send the request."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        is_own = site == "same-origin"
    else:  # browsers leave it out on plain http, except on this machine
        is_own = origin is not None and _is_same_host(origin, request.headers.get("Host", ""), scheme_of(room, request))
    if not is_own:
        detail = "this request comes from another page than the console, so its session does not count"
        raise Refusal(problem(403, detail))


def check_confirmed(request: web.Request, session: Session) -> None:
    """Raises Refusal (403) unless the request has the session's second secret."""
    if not session.confirms(request.headers.get(CSRF_HEADER)):
        detail = f"a request with the console's cookie needs the session's token in {CSRF_HEADER}; load the page again"
        raise Refusal(problem(403, detail))


def read_cookie(room: Room, request: web.Request) -> str | None:
    """What the session's cookie holds."""
    return request.cookies.get(cookie_name(room, request)) or None


def cookie_name(room: Room, request: web.Request) -> str:
    """The cookie's name. With `__Host-` no other host can set it. Plain http is for this machine and for networks that
    are trusted; cookies know no ports, so there the name has it, for several installations on one machine.
    """
    if scheme_of(room, request) == "https":
        return "__Host-penstock"
    port = request.headers.get("Host", "").rpartition("]")[2].rpartition(":")[2]
    return f"penstock_{port}" if port.isdecimal() and port.isascii() else "penstock"


def scheme_of(room: Room, request: web.BaseRequest) -> str:
    """`https` or `http`: how the client reaches us, as far as the proxies that are trusted say."""
    forwarded = request.headers.getall("X-Forwarded-Proto", ())
    return find_scheme(request.remote, request.scheme, forwarded, room.settings.trusted_proxies)


def _is_same_host(origin: str, host: str, scheme: str) -> bool:
    try:
        parts = urlsplit(origin)
        own = urlsplit(f"{scheme}://{host}")
        places = [(one.hostname, one.port or {"https": 443, "http": 80}.get(one.scheme)) for one in (parts, own)]
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and places[0] == places[1] and parts.hostname is not None
