"""Logs people in by an issuer whom the operator trusts (OpenID Connect Core 1.0, section 3.1: the authorization code
flow), with PKCE (RFC 7636) in any case.

What a login needs until the person comes back is in a cookie of ten minutes, so any replica can finish what another has
begun: the state, which the issuer hands back and nobody else knows; the nonce, which has to be in the issuer's token;
the verifier, without which the code is of no use; and the address that was asked for.
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

import orjson
from multidict import CIMultiDict
from pydantic import BaseModel, ConfigDict, ValidationError
from yarl import URL

from penstock.definitions.oidc import Oidc
from penstock.domain.grants import find_grant
from penstock.errors import Permanent, Transient
from penstock.logs import get_logger
from penstock.outgoing.client import Outgoing
from penstock.outgoing.exchange import Request, Response
from penstock.store.console_sessions import Identity
from penstock.webhooks.identity_tokens import Claims, want_discovery
from penstock_ingress.accepting.issuers import Issuers
from penstock_ingress.rules.replies import Refusal
from penstock_ingress.settings import ConsoleOidc

log = get_logger(__name__)

LOGIN_SECONDS: Final = 600
_FRESH_SECONDS: Final = 300.0
_SECONDS: Final = 10.0
_MAX_BYTES: Final = 256 * 1024
_HTTP: Final = frozenset({"http", "https"})


class LoginFailed(Exception):
    """The login ends here. `code` is one of those for which the login page has a text; the log has the rest."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


class Begun(BaseModel):
    """A login that has begun, as its cookie keeps it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    state: str
    nonce: str
    verifier: str
    to: str

    def encoded(self) -> str:
        """As a cookie can hold it."""
        return base64.urlsafe_b64encode(self.model_dump_json().encode()).decode()


class _Endpoints(NamedTuple):
    authorization: str
    token: str
    posts_secret: bool
    found_at: float


def begin(to: str) -> Begun:
    """A new login that ends at this address of the console."""
    return Begun(
        state=secrets.token_urlsafe(32), nonce=secrets.token_urlsafe(32), verifier=secrets.token_urlsafe(48), to=to
    )


def read_begun(cookie: str | None) -> Begun:
    """The login that a cookie keeps. Raises LoginFailed."""
    try:
        return Begun.model_validate_json(base64.urlsafe_b64decode((cookie or "").encode()))
    except (ValueError, ValidationError):
        raise LoginFailed("state", "the browser did not begin this login, or more than ten minutes ago") from None


class OidcLogin:
    """Logs people in by one issuer."""

    def __init__(self, settings: ConsoleOidc, outgoing: Outgoing, issuers: Issuers) -> None:
        self._settings = settings
        self._outgoing = outgoing
        self._issuers = issuers
        self._trusted = Oidc(issuer=settings.issuer, audience=(settings.client_id,))
        self._endpoints: _Endpoints | None = None

    async def find_address(self, begun: Begun, redirect_uri: str) -> str:
        """Where the person goes to say who they are. Raises LoginFailed."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(begun.verifier.encode()).digest()).rstrip(b"=")
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": self._settings.scope,
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
        }
        address = (await self._find_endpoints()).authorization
        return f"{address}{'&' if '?' in address else '?'}{urlencode(asked)}"

    async def finish(self, begun: Begun, answer: Mapping[str, str], redirect_uri: str) -> Identity:
        """Who has come back with the issuer's answer, and what they may do. Raises LoginFailed."""
        if not hmac.compare_digest(begun.state.encode(), answer.get("state", "").encode()):
            raise LoginFailed("state", "the state is not the one of this browser's login")
        if answer.get("iss", self._settings.issuer) != self._settings.issuer:  # RFC 9207
            raise LoginFailed("state", "the answer is another issuer's")
        if "code" not in answer:
            raise LoginFailed("issuer", f"the issuer answers {answer.get('error', 'without a code')[:100]}")
        text = await self._exchange(answer["code"], begun.verifier, redirect_uri)
        try:
            claims = await self._issuers.check(self._trusted, text)
        except Refusal as error:
            raise LoginFailed("issuer", str(error)) from None
        if claims is None:
            raise LoginFailed("token", "the issuer's token is not good")
        return self._identify(claims, begun.nonce)

    def _identify(self, claims: Claims, nonce: str) -> Identity:
        given = claims.members.get("nonce")
        if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
            raise LoginFailed("token", "the token is one of another login")
        if claims.members.get("azp", self._settings.client_id) != self._settings.client_id:
            raise LoginFailed("token", "the token was made for another client")
        grant = find_grant(self._settings.roles, claims.members, self._settings.claim)
        name = claims.email or claims.subject
        if grant is None:
            raise LoginFailed("role", f"no role is mapped to what {self._settings.claim} says of {name}")
        return Identity(name, grant.role, grant.sees_payloads)

    async def _exchange(self, code: str, verifier: str, redirect_uri: str) -> str:
        """The token that the issuer gives for a code (RFC 6749, section 4.1.3)."""
        endpoints, settings = await self._find_endpoints(), self._settings
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": settings.client_id,
            "code_verifier": verifier,
        }
        headers = CIMultiDict({"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"})
        if settings.client_secret is not None:
            secret = settings.client_secret.get_secret_value()
            if endpoints.posts_secret:
                form["client_secret"] = secret
            else:
                pair = f"{quote(settings.client_id, safe='')}:{quote(secret, safe='')}"
                headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        answer = await self._ask("POST", endpoints.token, headers, urlencode(form).encode())
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise LoginFailed("issuer", "the issuer's answer has no id_token")
        return token

    async def _find_endpoints(self) -> _Endpoints:
        known, now = self._endpoints, time.monotonic()
        if known is not None and now - known.found_at < _FRESH_SECONDS:
            return known
        found = await self._ask("GET", want_discovery(self._trusted).url, CIMultiDict({"Accept": "application/json"}))
        if found.get("issuer") != self._settings.issuer:
            raise LoginFailed("issuer", "the issuer's document is another issuer's")
        methods = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        posts = isinstance(methods, list) and "client_secret_basic" not in methods and "client_secret_post" in methods
        self._endpoints = _Endpoints(
            _read_url(found, "authorization_endpoint"), _read_url(found, "token_endpoint"), posts, now
        )
        return self._endpoints

    async def _ask(self, method: str, url: str, headers: CIMultiDict[str], body: bytes | None = None) -> dict[str, Any]:
        request = Request(method, URL(url, encoded=True), headers, body, max_redirects=0, max_bytes=_MAX_BYTES)
        try:
            answer: Response = await self._outgoing.send(request, _SECONDS)
            document = orjson.loads(answer.body) if answer.status == 200 else None
        except (Transient, Permanent, ValueError) as error:
            raise LoginFailed("issuer", f"{url}: {error}") from None
        if not isinstance(document, dict):
            raise LoginFailed("issuer", f"{url} answers {answer.status}, or no JSON object")
        return document


def _read_url(document: Mapping[str, Any], name: str) -> str:
    url = document.get(name)
    try:
        is_one = isinstance(url, str) and URL(url).scheme in _HTTP and URL(url).host is not None
    except ValueError:
        is_one = False
    if not is_one:
        raise LoginFailed("issuer", f"the issuer's document has no {name}")
    return str(url)
