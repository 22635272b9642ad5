"""Logging in to the console by an issuer (OpenID Connect): who is let in as what, and what is refused."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Self, cast
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from pydantic import ValidationError

from penstock_ingress.settings import IngressSettings
from tests.integration.ingress import Ingress, running_ingress, write_app
from tests.openid_issuer import KEY, OTHER_KEY, Issuer, running_issuer, settings_for
from tests.site import UNUSED

ADA = {"email": "ada@example.com", "email_verified": True, "groups": ["ops", "others"]}


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer() as running:
        running.claims = {**ADA}
        yield running


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path, issuer: Issuer) -> AsyncIterator[Ingress]:
    async with running_ingress(database_url, amqp_url, write_app(tmp_path), **settings_for(issuer)) as running:
        yield running


class Person:
    """Somebody with a browser that follows where it is led."""

    def __init__(self, ingress: Ingress) -> None:
        self._admin = ingress.admin_url
        self._cookies = aiohttp.CookieJar(unsafe=True)
        self.http = aiohttp.ClientSession(cookie_jar=self._cookies)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    async def log_in(self, to: str = "/console/live/runs") -> str:
        """Where the login ends, below the admin port."""
        async with self.http.get(f"{self._admin}/console/oidc/login", params={"to": to}) as response:
            assert response.status == 200
            return str(response.url).removeprefix(self._admin)

    async def begin(self) -> dict[str, str]:
        """What the issuer is asked."""
        url = f"{self._admin}/console/oidc/login"
        async with self.http.get(url, allow_redirects=False) as response:
            assert response.status == 303
            return {name: value for name, (value,) in parse_qs(urlsplit(response.headers["Location"]).query).items()}

    async def come_back(self, **answer: str) -> str:
        """Where an answer of the issuer leads, below the admin port."""
        async with self.http.get(f"{self._admin}/console/oidc/callback", params=answer) as response:
            return str(response.url).removeprefix(self._admin)

    async def session(self) -> Mapping[str, object] | None:
        """The session, if there is one."""
        async with self.http.get(f"{self._admin}/console/session") as response:
            return cast("Mapping[str, object] | None", (await response.json())["session"])


@pytest.mark.parametrize(
    ("groups", "role", "payloads"),
    [
        (["ops"], "operator", True),
        (["staff"], "viewer", False),
        (["staff", "admins", "ops", 7, None], "admin", True),
        ("admins", "admin", True),
    ],
)
async def test_somebody_is_let_in_with_the_role_that_their_groups_have(
    ingress: Ingress, issuer: Issuer, groups: object, role: str, payloads: bool
) -> None:
    issuer.claims["groups"] = groups
    async with Person(ingress) as ada:
        assert await ada.log_in("/console/live/runs?state=failed") == "/console/live/runs?state=failed"
        session = await ada.session()
        assert session is not None
        assert (session["name"], session["role"], session["payloads"]) == ("oidc:ada@example.com", role, payloads)
        async with ada.http.get(f"{ingress.admin_url}/v1/development/runs") as response:
            assert response.status == 200
    acts = cast("list[dict[str, object]]", (await ingress.manage("GET", "/v1/live/audit")).json["results"])
    assert [(act["actor"], act["action"]) for act in acts] == [("oidc:ada@example.com", "session.open")]


async def test_an_email_that_nobody_has_verified_is_not_a_name(ingress: Ingress, issuer: Issuer) -> None:
    issuer.claims |= {"email": "root@example.com", "email_verified": False}
    async with Person(ingress) as ada:
        await ada.log_in()
        assert (await ada.session() or {})["name"] == "oidc:ada"


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"groups": ["others"]}, "role"),
        ({"groups": None}, "role"),
        ({"groups": {"admins": True}}, "role"),
        ({"nonce": "of another login"}, "token"),
        ({"nonce": None}, "token"),
        ({"aud": "another-client"}, "token"),
        ({"aud": ["penstock-console", "another"], "azp": "another"}, "token"),
        ({"iss": "https://another.example.com"}, "token"),
        ({"exp": 1}, "token"),
        ({"sub": None}, "token"),
    ],
)
async def test_what_the_issuer_does_not_vouch_for_opens_nothing(
    ingress: Ingress, issuer: Issuer, claims: dict[str, object], code: str
) -> None:
    issuer.claims |= claims
    async with Person(ingress) as ada:
        assert await ada.log_in() == f"/console?refused={code}"
        assert await ada.session() is None


async def test_a_token_that_somebody_else_has_signed_opens_nothing(ingress: Ingress, issuer: Issuer) -> None:
    issuer.key = OTHER_KEY
    async with Person(ingress) as ada:
        assert await ada.log_in() == "/console?refused=token"
        issuer.key = KEY
        assert await ada.log_in() == "/console/live/runs"


async def test_the_answer_to_one_browser_logs_no_other_one_in(ingress: Ingress, issuer: Issuer) -> None:
    async with Person(ingress) as attacker, Person(ingress) as victim:
        asked = await attacker.begin()
        async with attacker.http.get(f"{issuer.url}/authorize", params=asked, allow_redirects=False) as response:
            answer = {name: value for name, (value,) in parse_qs(urlsplit(response.headers["Location"]).query).items()}
        assert await victim.come_back(**answer) == "/console?refused=state", "nothing was begun there"
        await victim.begin()
        assert await victim.come_back(**answer) == "/console?refused=state", "it is another login's"
        assert await victim.session() is None
        assert await attacker.come_back(**{**answer, "iss": "https://another.example.com"}) == "/console?refused=state"
        assert await attacker.come_back(**answer) == "/console"
        assert await attacker.session() is not None


async def test_a_code_is_good_once_and_an_error_of_the_issuer_is_not_shown(ingress: Ingress, issuer: Issuer) -> None:
    issuer.answer = {"code": "", "error": "<script>alert(1)</script>"}
    async with Person(ingress) as ada:
        assert await ada.log_in() == "/console?refused=issuer"
        issuer.answer = {"code": "made up"}
        assert await ada.log_in() == "/console?refused=issuer"


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://another.example.com"},
        {"token_endpoint": None},
        {"token_endpoint": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"padding": "x" * 300_000},
    ],
    ids=["another issuer", "no endpoint", "a file", "a script", "too large"],
)
async def test_an_issuers_document_that_is_not_good_opens_nothing(
    ingress: Ingress, issuer: Issuer, document: dict[str, object]
) -> None:
    issuer.document = document
    async with Person(ingress) as ada:
        assert await ada.log_in() == "/console?refused=issuer"


async def test_an_issuer_may_want_the_secret_in_the_form(ingress: Ingress, issuer: Issuer) -> None:
    issuer.document = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    async with Person(ingress) as ada:
        assert await ada.log_in() == "/console/live/runs"


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example/",
        "//evil.example/",
        "/console\\evil",
        "/consoles",
        "/console/\r\nX: y",
        "javascript:x",
        "",
    ],
)
async def test_a_login_ends_in_the_console_and_nowhere_else(ingress: Ingress, to: str) -> None:
    async with Person(ingress) as ada:
        assert await ada.log_in(to) == "/console"


async def test_without_an_issuer_nobody_logs_in_by_one(database_url: str, amqp_url: str, tmp_path: Path) -> None:
    async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as ingress:
        for path in ("login", "callback"):
            assert (await ingress.manage("GET", f"/console/oidc/{path}", headers={})).status == 404


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"console_oidc_issuer": "https://a.example"}, "PENSTOCK_CONSOLE_OIDC_CLIENT_ID"),
        ({"console_oidc_issuer": "ftp://a.example"}, "pattern"),
        ({"console_oidc_roles": "ops"}, "write VALUE=viewer"),
        ({"console_oidc_roles": "ops=root"}, "write VALUE=viewer"),
        ({"console_oidc_roles": "ops=viewer/nothing"}, "write VALUE=viewer"),
        ({"console_oidc_scope": "email"}, "pattern"),
    ],
)
def test_settings_that_let_nobody_in_are_refused_at_start(settings: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        IngressSettings.model_validate({**UNUSED, **settings})
