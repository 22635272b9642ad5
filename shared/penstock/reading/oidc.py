"""Reads `oidc` of app.yaml: whose tokens make a call one of a user of the app."""

import re
from typing import Final

from penstock.definitions.oidc import DEFAULT_ALGORITHMS, Oidc
from penstock.reading.places import shorten
from penstock.reading.tables import Table

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Those with public keys: the issuer of a token alone can make it."""
_URL: Final = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?", re.ASCII | re.IGNORECASE)


def read_oidc(table: Table) -> Oidc | None:
    """`oidc` of app.yaml; None where there is none, or it is wrong."""
    if table.node("oidc") is None:
        return None
    given = table.table("oidc", "'oidc'")
    has_issuer = given.require("issuer", "issuer: https://login.example.com")
    has_audience = given.require("audience", "audience: shop")
    issuer, jwks = _read_url(given, "issuer"), _read_url(given, "jwks")
    audience = tuple(text for text, _ in given.texts("audience"))
    algorithms = _read_algorithms(given)
    creates_users = given.one_of("users", ("create", "existing")) != "existing"
    given.close()
    if issuer is None or not has_issuer or not has_audience:
        return None
    return Oidc(issuer=issuer, audience=audience, algorithms=algorithms, jwks=jwks, creates_users=creates_users)


def _read_url(table: Table, key: str) -> str | None:
    node, url = table.node(key), table.text(key)
    if node is None or url is None:
        return None
    if not _URL.fullmatch(url):
        table.report.error(node.place, f"{key!r}: {shorten(url)!r} is not a URL", "such as https://login.example.com")
        return None
    if url.lower().startswith("http:"):
        table.report.warning(node.place, "keys that come over http can be changed on their way", "write https://")
    return url


def _read_algorithms(table: Table) -> tuple[str, ...]:
    named = table.texts("algorithms")
    for name, place in named:
        if name in ALGORITHMS:
            continue
        hint = "a shared secret would let everyone who has it be every user" if name.startswith("HS") else ""
        table.report.unknown(place, "algorithm", name, ALGORITHMS, hint)
    return tuple(name for name, _ in named) or DEFAULT_ALGORITHMS
