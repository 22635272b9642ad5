"""What a step asks another server, and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from ssl import SSLContext
from typing import Final

from multidict import CIMultiDict
from yarl import URL

MAX_REDIRECTS: Final = 3
MAX_BODY_BYTES: Final = 10 * 1024 * 1024


@dataclass(slots=True)
class Request:
    """One outgoing call. Headers whose names are not harmless are dropped when a redirect leads to another origin.

    `allowed` are networks that this call may reach beside those that all may: at this origin, not where a redirect
    leads from there. `tls` says which certificates are trusted, None: those that the system trusts. `max_bytes` is how
    much of the answer's body is read.
    """

    method: str
    url: URL
    headers: CIMultiDict[str]
    body: bytes | None = None
    allowed: tuple[IPv4Network | IPv6Network, ...] = ()
    max_redirects: int = MAX_REDIRECTS
    tls: SSLContext | None = None
    max_bytes: int = MAX_BODY_BYTES


@dataclass(frozen=True, slots=True)
class Response:
    """What came back; `body` is decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    charset: str | None
