"""HTTP calls that leave the house: which addresses they may reach, how redirects are followed, how much of an answer is read.

The decision is taken where the socket is made, after the name was resolved, for every connection and so for every redirect: what
was checked is what is connected to, whatever the name resolves to a moment later. The list is explicit, because `is_global` is true
for addresses that lead inside (NAT64, 6to4, the metadata services of some clouds) and has changed between Python releases.
"""

import errno
import socket
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from aiohttp import ClientConnectorError, ClientError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from multidict import CIMultiDict
from yarl import URL

from penstock.errors import Permanent, Transient

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

MAX_BODY_BYTES: Final = 10 * 1024 * 1024
MAX_REDIRECTS: Final = 3
_MOST_CONNECTIONS: Final = 200
_BLOCKED: Final = "blocked by the policy for outgoing calls"
_REFUSED: Final = tuple(
    ip_network(network)
    for network in (
        "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/23", "::/96", "fd00:ec2::254/128",
        "192.0.0.0/24", "192.88.99.0/24", "100.64.0.0/10", "168.63.129.16/32", "169.254.0.0/16",
    )
)  # fmt: skip
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_KEPT_ACROSS_ORIGINS: Final = frozenset({"accept", "accept-language", "content-type", "idempotency-key", "user-agent"})

_AddrInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]


@dataclass(slots=True)
class Request:
    """One outgoing call. Headers whose names are not harmless are dropped when a redirect leads to another origin."""

    method: str
    url: URL
    headers: CIMultiDict[str]
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """What came back; `body` is decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    charset: str | None


def is_allowed(address: Address, allowed: Collection[Network]) -> bool:
    """Whether a connection to `address` may be made: public ones may, and those inside an allowed network."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address in network for network in allowed):
        return True
    return address.is_global and not address.is_multicast and not any(address in network for network in _REFUSED)


def open_session(allowed: Collection[Network]) -> ClientSession:
    """A session whose every connection is checked. No proxy from the environment, no cookies, no cache of names."""
    connector = TCPConnector(socket_factory=_guard(tuple(allowed)), use_dns_cache=False, limit=_MOST_CONNECTIONS)
    return ClientSession(
        connector=connector,
        trust_env=False,
        cookie_jar=DummyCookieJar(),
        headers={"User-Agent": "penstock"},
        requote_redirect_url=False,
    )


async def send(session: ClientSession, request: Request, timeout_seconds: float) -> Response:
    """Send a request and read its answer, following a few redirects.

    Raises Permanent (kind `blocked`, `request` or `too_large`) for what must not or cannot be asked or read, Transient (kind
    `connection` or `timeout`) for what may work later. Messages never tell which address a name has.
    """
    for _ in range(MAX_REDIRECTS + 1):
        _check_url(request.url)
        answer = await _send_once(session, request, timeout_seconds)
        if isinstance(answer, Response):
            return answer
        request = _follow(request, *answer)
    raise Permanent(f"more than {MAX_REDIRECTS} redirects, the last to {_show(request.url)}", kind="request")


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
        raise Permanent(f"{_show(url)} is no URL to call; it has to start with https:// or http://", kind="request")
    if url.user is not None or url.password is not None:
        raise Permanent(f"{_show(url)} holds a user or password; put them into the header Authorization instead", kind="request")


async def _send_once(session: ClientSession, request: Request, timeout_seconds: float) -> Response | tuple[int, str]:
    """The answer, or status and location of a redirect."""
    shown = f"{request.method} {_show(request.url)}"
    try:
        async with session.request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.body,
            allow_redirects=False,
            timeout=_timeout(timeout_seconds),
        ) as response:
            location = response.headers.get("Location")
            if response.status in _REDIRECTS and location:
                return response.status, location
            return await _read(response, shown)
    except ClientConnectorError as error:
        if _BLOCKED in str(error.os_error):
            raise Permanent(
                f"{shown} was {_BLOCKED}: the host is not public; PENSTOCK_OUTGOING_ALLOW lists private networks that may be called",
                kind="blocked",
            ) from None
        raise Transient(f"{shown}: no connection to the host", kind="connection") from None
    except TimeoutError:
        raise Transient(f"{shown}: no complete answer within {timeout_seconds:g} s", kind="timeout") from None
    except (ClientError, OSError) as error:
        raise Transient(f"{shown}: the connection failed ({type(error).__name__})", kind="connection") from None
    except (ValueError, TypeError) as error:
        raise Permanent(f"{shown} cannot be sent: {error}", kind="request") from None


async def _read(response: ClientResponse, shown: str) -> Response:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)  # after decompression
        if size > MAX_BODY_BYTES:
            raise Permanent(f"{shown} answered with more than {MAX_BODY_BYTES // 1024 // 1024} MiB", kind="too_large")
        chunks.append(chunk)
    headers = {name.lower(): ", ".join(response.headers.getall(name)) for name in response.headers}
    return Response(response.status, headers, b"".join(chunks), response.charset)


def _follow(request: Request, status: int, location: str) -> Request:
    """The request that a redirect asks for, as browsers do it (RFC 9110, 15.4): after 303, and a POST's 301 and 302, a GET."""
    try:
        url = request.url.join(URL(location))
    except ValueError:
        raise Permanent(f"{_show(request.url)} redirects to something that is no URL", kind="request") from None
    headers = request.headers
    if url.origin() != request.url.origin() if url.host else True:
        headers = CIMultiDict((name, value) for name, value in headers.items() if name.lower() in _KEPT_ACROSS_ORIGINS)
    if (status == 303 and request.method != "HEAD") or (status in {301, 302} and request.method == "POST"):
        headers = CIMultiDict((name, value) for name, value in headers.items() if name.lower() != "content-type")
        return Request("GET", url, headers)
    return Request(request.method, url, headers, request.body)


def _timeout(seconds: float) -> ClientTimeout:
    return ClientTimeout(total=seconds, sock_connect=min(seconds, 10.0))


def _show(url: URL) -> str:
    """A URL for a message: without user, password, query and fragment, any of which may hold a secret."""
    return str(url.with_user(None).with_query(None).with_fragment(None)) if url.host else "a URL without a host"
