"""Users who come with tokens of an issuer (OpenID Connect): let in by the issuer's keys, and by nothing else."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from penstock.testing import AppUnderTest, open_app
from penstock.testing.replies import Reply
from penstock.webhooks.stored_keys import MAX_DOCUMENT_BYTES
from tests.integration.accounts.apps import OTHER, PASSWORD, post, write_app
from tests.integration.accounts.test_sessions import response_of
from tests.integration.executing import serve_outside

KEYS = {name: rsa.generate_private_key(public_exponent=65537, key_size=2048) for name in ("k1", "k2", "stranger")}
ADA = {"sub": "ada-1", "email": "Ada@Example.com", "email_verified": True}


class Issuer:
    """An issuer under `url`, with these keys published. `asked` are the paths that it was asked for."""

    def __init__(self) -> None:
        self.url = ""
        self.published = ["k1"]
        self.asked: list[str] = []
        self.discovery: dict[str, Any] = {}
        self.padding = ""
        self.redirect: str | None = None
        self.is_silent = False

    async def answer(self, request: web.Request) -> web.Response:
        """The issuer's document, or its keys."""
        self.asked.append(request.path)
        if self.is_silent:
            await asyncio.Event().wait()
        if self.redirect is not None:
            return web.Response(status=302, headers={"Location": self.redirect})
        if request.path.endswith("openid-configuration"):
            return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.discovery})
        keys = [{**RSAAlgorithm.to_jwk(KEYS[name].public_key(), as_dict=True), "kid": name} for name in self.published]
        return web.Response(text=json.dumps({"keys": keys, "padding": self.padding}))

    def token(self, key: str = "k1", *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token that is good unless `claims` say otherwise; None leaves one out."""
        now = int(time.time())
        given = {"iss": self.url, "aud": ["other", "shop"], "iat": now, "exp": now + 300, **ADA, **claims}
        payload = {name: value for name, value in given.items() if value is not None}
        return jwt.encode(payload, KEYS[key], "RS256", headers={"kid": key, **(headers or {})})


class Site:
    """The app, and whom it trusts."""

    def __init__(self, app: AppUnderTest, issuer: Issuer) -> None:
        self.app = app
        self.issuer = issuer

    async def who(self, token: str) -> Reply:
        """What somebody with this token is answered."""
        return await post(self.app, "who", token)


@pytest.fixture
def users() -> str:
    """What the app says of new users."""
    return "create"


@pytest.fixture
async def site(tmp_path: Path, users: str) -> AsyncIterator[Site]:
    """The app of `apps`, which trusts an issuer."""
    issuer = Issuer()
    async with AsyncExitStack() as stack:
        issuer.url = (await stack.enter_async_context(serve_outside(issuer.answer))).rstrip("/")
        directory = write_app(tmp_path / "app")
        oidc = f"oidc: {{issuer: '{issuer.url}', audience: shop, users: {users}}}\n"
        (directory / "app.yaml").write_text(f"app: shop\n{oidc}")
        yield Site(await stack.enter_async_context(open_app(directory)), issuer)


async def test_somebody_new_becomes_a_user_once(site: Site) -> None:
    replies = await asyncio.gather(*(site.who(site.issuer.token()) for _ in range(5)))
    (user,) = await site.app.find("user")
    assert [response_of(reply) for reply in replies] == [{"id": user.id, "name": None, "email": "ada@example.com"}] * 5
    changed = response_of(await site.who(site.issuer.token(email="new@example.com")))
    assert changed["id"] == user.id
    assert sorted(site.issuer.asked) == ["/.well-known/openid-configuration", "/keys"]


async def test_a_verified_email_is_that_of_the_user_who_has_it_and_an_unverified_one_is_nobodys(site: Site) -> None:
    ada = await site.app.create("user", {"email": "ADA@example.com", "name": "Ada"})
    unverified = response_of(await site.who(site.issuer.token(sub="x", email_verified="true")))
    assert (unverified["id"] == ada.id, unverified["email"]) == (False, None)
    assert response_of(await site.who(site.issuer.token()))["id"] == ada.id


async def test_a_password_that_a_stranger_has_set_ends_when_the_owner_of_the_address_comes(site: Site) -> None:
    stranger = response_of(await post(site.app, "sign_up", email="ada@example.com", password=OTHER))
    assert response_of(await site.who(site.issuer.token()))["id"] == stranger["user_id"]
    assert (await site.who(str(stranger["token"]))).status == 401
    assert (await post(site.app, "log_in", email="ada@example.com", password=OTHER)).status == 401


async def test_two_users_with_one_email_are_not_guessed_at(site: Site) -> None:
    for _ in range(2):
        await site.app.create("user", {"email": "ada@example.com"})
    assert (await site.who(site.issuer.token())).status == 401


@pytest.mark.parametrize("users", ["existing"])
async def test_nobody_becomes_a_user_where_the_app_does_not_want_that(site: Site) -> None:
    assert (await site.who(site.issuer.token())).status == 401
    await site.app.create("user", {"email": "ada@example.com"})
    assert (await site.who(site.issuer.token())).status == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example.com"}, {"iss": None}, {"aud": "other"}, {"aud": None}, {"aud": {"shop": 1}},
        {"exp": 1_000_000_000}, {"exp": None}, {"exp": "never"}, {"exp": True}, {"nbf": 4_000_000_000},
        {"iat": 4_000_000_000}, {"sub": None}, {"sub": ""}, {"sub": 7}, {"sub": "x" * 256},
    ],
)  # fmt: skip
async def test_a_token_that_is_not_for_us_now_is_refused(site: Site, claims: dict[str, Any]) -> None:
    assert (await site.who(site.issuer.token(**claims))).status == 401
    assert await site.app.count("user") == 0


async def test_no_key_but_the_issuers_signs(site: Site) -> None:
    public = KEYS["k1"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    good = site.issuer.token()
    head, body, signature = good.split(".")

    def part(content: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    shared = (
        base64.urlsafe_b64encode(
            hmac.digest(public, f"{part({'alg': 'HS256', 'kid': 'k1'})}.{body}".encode(), "sha256")
        )
        .rstrip(b"=")
        .decode()
    )
    embedded = RSAAlgorithm.to_jwk(KEYS["stranger"].public_key(), as_dict=True)
    forged = [
        f"{part({'alg': 'none'})}.{body}.",
        f"{part({'alg': 'none'})}.{body}.{signature}",
        f"{part({'alg': 'HS256', 'kid': 'k1'})}.{body}.{shared}",
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{head}.{part({'iss': site.issuer.url, 'aud': 'shop', 'exp': 4e9, 'sub': 'root'})}.{signature}",
        site.issuer.token("stranger", headers={"kid": "k1"}),
        site.issuer.token("stranger", headers={"kid": "k1", "jwk": embedded}),
        site.issuer.token("stranger", headers={"kid": "k1", "jku": f"{site.issuer.url}/mine"}),
        site.issuer.token(headers={"crit": ["exp"]}),
        "eyJ.x.y", "ey..", f"{head}.{body}", f"{good}.{signature}",
    ]  # fmt: skip
    for token in forged:
        assert (await site.who(token)).status == 401, token
    assert (await site.who(site.issuer.token(claim="x" * 6_000))).status in {200, 400, 431}
    assert (await site.who(site.issuer.token(claim="x" * 20_000))).status in {400, 401, 431}
    assert "/mine" not in site.issuer.asked


async def test_a_key_that_is_not_known_is_asked_for_a_bounded_number_of_times(site: Site) -> None:
    assert (await site.who(site.issuer.token())).status == 200
    for number in range(5):
        token = site.issuer.token("stranger", headers={"kid": f"unknown {number}"})
        assert (await site.who(token)).status == 401
    assert site.issuer.asked.count("/keys") == 1
    for claims in ({"iss": "https://evil.example.com"}, {"aud": "other"}):
        await site.who(site.issuer.token("stranger", headers={"kid": "x"}, **claims))
    assert len(site.issuer.asked) == 2


async def test_while_the_keys_cannot_be_had_it_is_not_a_401(site: Site) -> None:
    site.issuer.discovery = {"issuer": "https://evil.example.com"}
    assert (await site.who(site.issuer.token())).status == 503
    reply = await site.who(site.issuer.token())
    assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
    assert site.issuer.asked == ["/.well-known/openid-configuration"]


@pytest.mark.parametrize("trouble", ["too large", "redirected", "silent", "elsewhere"])
async def test_an_issuer_in_trouble_lets_nobody_in_and_hangs_nobody(site: Site, trouble: str) -> None:
    match trouble:
        case "too large":
            site.issuer.padding = "x" * MAX_DOCUMENT_BYTES
        case "redirected":
            site.issuer.redirect = "http://169.254.169.254/latest/meta-data"
        case "silent":
            site.issuer.is_silent = True
        case _:
            site.issuer.discovery = {"jwks_uri": "http://169.254.169.254/keys"}
    async with asyncio.timeout(10):
        assert (await site.who(site.issuer.token())).status == 503
    assert (await post(site.app, "sign_up", email="grace@example.com", password=PASSWORD)).status == 200


async def test_a_token_of_an_issuer_steers_nothing(site: Site) -> None:
    headers = {"Authorization": f"Bearer {site.issuer.token(role='admin', roles=['admin'])}"}
    async with site.app._house.http.get(f"{site.app.admin_url}/v1/live/runs", headers=headers) as response:
        assert response.status == 401
    async with site.app._house.http.post(f"{site.app._house.url}/api/1.1/wf/who", headers=headers) as response:
        assert response.status in {401, 404}  # the issuer is trusted where it is deployed, not in live


async def test_a_deleted_user_is_a_new_one_when_they_come_again(site: Site) -> None:
    first = response_of(await site.who(site.issuer.token()))["id"]
    async with site.app._house.database.connection() as conn:
        await conn.execute('DELETE FROM development."user"')
    second = response_of(await site.who(site.issuer.token()))["id"]
    assert second != first
