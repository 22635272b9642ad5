"""HTTP calls that leave the house: what they may reach, how redirects are followed, how long they take, how much of an
answer is read.

Whether an address may be reached is decided where the socket is made, after the name was resolved, for every connection
and so for every redirect: what was checked is what is connected to, whatever the name resolves to a moment later. Open
connections are kept apart by what their callers may reach, so that nobody gets to use one that another was allowed to
make.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Collection
from dataclasses import replace
from ipaddress import ip_address
from typing import Final

from aiohttp import (
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    InvalidURL,
    TCPConnector,
    ThreadedResolver,
)
from aiohttp.abc import ResolveResult
from aiohttp.http_exceptions import ContentEncodingError, LineTooLong
from multidict import CIMultiDict
from yarl import URL

from penstock.errors import Permanent, Transient
from penstock.networks import Network
from penstock.outgoing.address_guard import is_allowed
from penstock.outgoing.exchange import Request, Response

MAX_HEADER_BYTES: Final = 8190
MAX_HEADERS: Final = 128
CONNECT_SECONDS: Final = 10.0
_MAX_CONNECTIONS: Final = 200
_BLOCKED: Final = "blocked by the policy for outgoing calls"
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_KEPT_ACROSS_ORIGINS: Final = frozenset(
    {
        "accept",
        "accept-language",
        "content-type",
        "idempotency-key",
        "user-agent",
        "traceparent",
        "tracestate",
        "baggage",
    }
)


class _Resolver(ThreadedResolver):
    """Asks the system, but for `localhost` and names below it: those are this machine, whatever anybody answers (RFC
    6761, 6.3).
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        name = host.rstrip(".").lower()
        if name != "localhost" and not name.endswith(".localhost"):
            return await super().resolve(host, port, family)
        is_six = family == socket.AF_INET6
        address, kind = ("::1", socket.AF_INET6) if is_six else ("127.0.0.1", socket.AF_INET)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
        ]


_AddrInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]


class Outgoing:
    """A client: one set of open connections per set of networks that may be reached."""

    def __init__(self, allowed: Collection[Network] = ()) -> None:
        self._allowed: Final = tuple(allowed)
        self._sessions: dict[tuple[Network, ...], ClientSession] = {}

    async def send(self, request: Request, timeout_seconds: float) -> Response:
        """Send a request and read its answer, following a few redirects, all within `timeout_seconds`.

        Raises Permanent (kind `blocked`, `request`, `certificate`, `response` or `too_large`) for what must not or
        cannot be asked or read, Transient (kind `connection` or `timeout`) for what may work later. Messages never tell
        which address a name has.
        """
        shown = f"{request.method} {show_url(request.url)}"
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._follow(request, timeout_seconds)
        except TimeoutError:
            raise Transient(f"{shown}: no complete answer within {timeout_seconds:g} s", kind="timeout") from None

    async def close(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            await session.close()

    async def _follow(self, request: Request, timeout_seconds: float) -> Response:
        for remaining in range(request.max_redirects, -1, -1):
            _check_url(request.url)
            answer = await self._send_once(request, timeout_seconds, is_last=request.max_redirects == 0)
            if isinstance(answer, Response):
                return answer
            if remaining:
                request = _redirect(request, *answer)
        raise Permanent(
            f"more than {request.max_redirects} redirects, the last from {show_url(request.url)}", kind="request"
        )

    async def _send_once(
        self, request: Request, timeout_seconds: float, *, is_last: bool
    ) -> Response | tuple[int, str]:
        """The answer, or status and location of a redirect; when it `is_last`, a redirect is an answer too."""
        shown = f"{request.method} {show_url(request.url)}"
        try:
            async with self._session(request.allowed).request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                ssl=request.tls or True,
                timeout=ClientTimeout(total=None, sock_connect=min(timeout_seconds, CONNECT_SECONDS)),
            ) as response:
                location = response.headers.get("Location")
                if response.status in _REDIRECTS and location and not is_last:
                    return response.status, location
                return await _read(response, shown, request.max_bytes)
        except (ClientError, OSError, ValueError, TypeError, LineTooLong, ContentEncodingError) as error:
            raise _explain(error, shown) from None

    def _session(self, allowed: tuple[Network, ...]) -> ClientSession:
        session = self._sessions.get(allowed)
        if session is None:
            session = self._sessions[allowed] = _open_session((*self._allowed, *allowed))
        return session


def _open_session(allowed: Collection[Network]) -> ClientSession:
    """A session whose every connection is checked. No proxy from the environment, no cookies, no cache of names."""
    connector = TCPConnector(
        resolver=_Resolver(), socket_factory=_guard(tuple(allowed)), use_dns_cache=False, limit=_MAX_CONNECTIONS
    )
    return ClientSession(
        connector=connector,
        trust_env=False,
        cookie_jar=DummyCookieJar(),
        headers={"User-Agent": "penstock"},
        requote_redirect_url=False,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        max_headers=MAX_HEADERS,
    )


def _guard(allowed: tuple[Network, ...]) -> Callable[[_AddrInfo], socket.socket]:
    def make_socket(info: _AddrInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        # A link-local IPv6 address carries its interface after a percent sign.
        if not is_allowed(ip_address(str(address[0]).partition("%")[0]), allowed):
            raise PermissionError(errno.EACCES, _BLOCKED)
        return socket.socket(family, kind, protocol)

    return make_socket


def _check_url(url: URL) -> None:
    if url.scheme not in {"http", "https"} or not url.host:
        raise Permanent(
            f"{show_url(url)} is not a URL that can be called; it has to start with https:// or http://", kind="request"
        )
    if url.user is not None or url.password is not None:
        raise Permanent(
            f"{show_url(url)} contains a user or a password; put them into the header Authorization instead",
            kind="request",
        )


def _explain(error: Exception, shown: str) -> Permanent | Transient:
    """What a failed call is to its author: what can be said of it, and whether it may work later. Values of headers are
    never shown.
    """
    causes = [error, *_causes(error)]
    match error:
        case ClientConnectorError() if _BLOCKED in str(error.os_error):
            hint = "PENSTOCK_OUTGOING_ALLOW, or a connector's allow_private, lists private networks that may be called"
            return Permanent(f"{shown} was {_BLOCKED}: the host is not public; {hint}", kind="blocked")
        case _ if any(isinstance(cause, ssl.CertificateError) for cause in causes):
            return Permanent(f"{shown}: the host's certificate is not trusted for this host", kind="certificate")
        case ClientConnectorDNSError():
            return Transient(f"{shown}: the name of the host cannot be resolved", kind="connection")
        case ConnectionTimeoutError():
            return Transient(f"{shown}: no connection to the host in time", kind="timeout")
        case ClientConnectorError():
            return Transient(f"{shown}: no connection to the host", kind="connection")
        case InvalidURL():
            return Permanent(f"{shown} is not a URL that can be called", kind="request")
        case _ if any(isinstance(cause, LineTooLong) for cause in causes) or "Too many headers" in str(error):
            return Permanent(f"{shown} answered with headers that are too large", kind="too_large")
        case _ if (
            any(isinstance(cause, ContentEncodingError) for cause in causes) or "content-encoding" in str(error).lower()
        ):
            return Permanent(f"{shown} answered with a compression that cannot be read", kind="response")
        case ClientError() | OSError():
            return Transient(f"{shown}: the connection failed ({type(error).__name__})", kind="connection")
        case _:
            return Permanent(f"{shown} cannot be sent: {error}", kind="request")


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and len(found) < 10:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found


async def _read(response: ClientResponse, shown: str, most: int) -> Response:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)  # after decompression, which is done in small parts
        if size > most:
            shown_most = f"{most // 1024 // 1024} MiB" if most >= 1024 * 1024 else f"{most} bytes"
            raise Permanent(f"{shown} answered with more than {shown_most}", kind="too_large")
        chunks.append(chunk)
    headers = {name.lower(): ", ".join(response.headers.getall(name)) for name in response.headers}
    return Response(response.status, headers, b"".join(chunks), response.charset)


def _redirect(request: Request, status: int, location: str) -> Request:
    """The request that a redirect asks for, as browsers do it (RFC 9110, 15.4): after 303, and a POST's 301 and 302, a
    GET.
    """
    try:
        url = request.url.join(URL(location))
    except ValueError:
        raise Permanent(f"{show_url(request.url)} redirects to something that is not a URL", kind="request") from None
    headers, allowed = request.headers, request.allowed
    if not url.host or url.origin() != request.url.origin():
        headers = CIMultiDict((name, value) for name, value in headers.items() if name.lower() in _KEPT_ACROSS_ORIGINS)
        allowed = ()
    if (status == 303 and request.method != "HEAD") or (status in {301, 302} and request.method == "POST"):
        headers = CIMultiDict((name, value) for name, value in headers.items() if name.lower() != "content-type")
        return replace(request, method="GET", url=url, headers=headers, body=None, allowed=allowed)
    return replace(request, url=url, headers=headers, allowed=allowed)


def show_url(url: URL) -> str:
    """A URL for a message: without user, password, query and fragment, any of which may hold a secret."""
    return str(url.with_user(None).with_query(None).with_fragment(None)) if url.host else "a URL without a host"
