"""An issuer of OpenID Connect as companies run them: it knows one person, one client, and gives a code once."""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlencode

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from penstock.testing.ports import find_port

CLIENT, SECRET = "penstock-console", "a secret: with/odd&characters"
KEY, OTHER_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


@dataclass
class Issuer:
    """What it says and does is up to the test: `claims` are of the person; None leaves one out. `key` signs."""

    url: str
    claims: dict[str, object] = field(default_factory=dict)
    key: rsa.RSAPrivateKey = KEY
    document: dict[str, object] = field(default_factory=dict)
    answer: dict[str, str] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Declare the routes."""
        router.add_get("/.well-known/openid-configuration", self._show_document)
        router.add_get("/authorize", self._authorize)
        router.add_post("/token", self._exchange)
        router.add_get("/keys", self._show_keys)

    async def _show_document(self, _: web.Request) -> web.Response:
        own = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        }
        return web.json_response({**own, **self.document})

    async def _authorize(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        self.asked.append(asked)
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        answer = {"code": code, "state": asked["state"], **self.answer}
        query = urlencode({name: value for name, value in answer.items() if value})
        return web.Response(status=302, headers={"Location": f"{asked['redirect_uri']}?{query}"})

    async def _exchange(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        asked = self._codes.pop(form["code"], None)  # a code is good once
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        is_good = (
            asked is not None
            and challenge.decode() == asked["code_challenge"]
            and form["redirect_uri"] == asked["redirect_uri"]
            and _is_client(request.headers.get("Authorization", ""), form)
        )
        if asked is None or not is_good:
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response({"token_type": "Bearer", "access_token": "x", "id_token": self._token(asked["nonce"])})

    async def _show_keys(self, _: web.Request) -> web.Response:
        key = {**RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k1"}
        return web.Response(text=json.dumps({"keys": [key]}))

    def _token(self, nonce: str) -> str:
        now = int(time.time())
        own: dict[str, Any] = {
            "iss": self.url,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 60,
            "nonce": nonce,
            "sub": "ada",
        }
        claims = {name: value for name, value in {**own, **self.claims}.items() if value is not None}
        return jwt.encode(claims, self.key, "RS256", headers={"kid": "k1"})


def _is_client(authorization: str, form: dict[str, str]) -> bool:
    if not authorization:
        return form.get("client_secret") == SECRET
    id, _, secret = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
    return (unquote(id), unquote(secret)) == (CLIENT, SECRET)


@asynccontextmanager
async def running_issuer() -> AsyncIterator[Issuer]:
    """An issuer on this machine, for as long as the block lasts."""
    port = find_port()
    issuer = Issuer(f"http://127.0.0.1:{port}")
    app = web.Application()
    issuer.add_to(app.router)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield issuer
    finally:
        await runner.cleanup()


def settings_for(issuer: Issuer) -> dict[str, str]:
    """The settings of an ingress whose console trusts the issuer, by their names without the prefix."""
    return {
        "console_oidc_issuer": issuer.url,
        "console_oidc_client_id": CLIENT,
        "console_oidc_client_secret": SECRET,
        "console_oidc_roles": "staff=viewer/no-payloads, ops=operator, admins=admin",
        "console_oidc_name": "Example Ltd",
        "outgoing_allow": "127.0.0.1",
    }
