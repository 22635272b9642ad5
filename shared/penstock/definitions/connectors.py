"""What a connector is as data, and what may be asked of it: a path below its base URL, and nothing beside."""

import re
from ipaddress import ip_network
from typing import Final
from urllib.parse import unquote, urlsplit

from pydantic import JsonValue

from penstock.definitions.models import Connector

CONNECTION_HEADERS: Final = frozenset(
    {"connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Headers of the connection: the client's, and in an author's hands a way to make two requests of one."""
_MAX_UNQUOTED: Final = 5
_UNPRINTABLE: Final = re.compile(r"[\x00-\x20\x7f]")
_ABSOLUTE: Final = re.compile(r"//|[A-Za-z][A-Za-z0-9+.-]*://")


def connector_arguments(connector: Connector) -> dict[str, JsonValue]:
    """The connector as one more argument of a `call` step, and evaluated with it: texts may embed `${secrets.NAME}`."""
    return {
        "name": connector.name,
        "base_url": connector.base_url,
        "headers": {**connector.headers},
        "timeout": connector.timeout_seconds,
        "allow_private": connector.allow_private
        if isinstance(connector.allow_private, bool)
        else [*connector.allow_private],
    }


def find_base_url_problem(url: str) -> str | None:
    """What is wrong with a base URL; None when it can be one."""
    try:
        parts = urlsplit(url)
        has_host, has_user = bool(parts.hostname), parts.username is not None or parts.password is not None
        _ = parts.port
    except ValueError:
        return "it cannot be read as a URL"
    if parts.scheme.lower() not in {"http", "https"} or not has_host:
        return "it has to start with https:// or http:// and name a host"
    if has_user:
        return "it holds a user or password; put them into the header Authorization"
    if "?" in url or "#" in url:
        return "it may have no query and no fragment; a step gives them under `query`"
    return "it holds a space, a control character or a backslash" if _UNPRINTABLE.search(url) or "\\" in url else None


def find_path_problem(path: str) -> str | None:
    """Why a path might leave a connector's base URL, also when servers decode it again; None when it cannot."""
    if _ABSOLUTE.match(path):
        return "it has to be a path below the connector's base_url, not a URL"
    if "?" in path or "#" in path:
        return "it may hold no ? and no #; write the query under `query`"
    for _ in range(_MAX_UNQUOTED):
        if _UNPRINTABLE.search(path.replace(" ", "")) or "\\" in path:
            return "it holds a control character or a backslash"
        if not {".", ".."}.isdisjoint(path.split("/")):
            return "it may not go up with .. or stay with ."
        decoded = unquote(path)
        if decoded == path:
            return None
        path = decoded
    return "it is encoded several times over"


def is_network(text: str) -> bool:
    """Whether `text` is an address or a network such as 10.1.0.0/16."""
    try:
        ip_network(text.strip(), strict=False)
    except ValueError:
        return False
    return True
