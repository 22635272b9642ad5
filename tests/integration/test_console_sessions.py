"""Sessions of the console: who gets one, what it may do, when it ends, and that no other page can use it."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from penstock.store.console_sessions import delete_ended_console_sessions
from penstock_ingress.console.assets import POLICY
from tests.integration.ingress import ADMIN_TOKEN, Answer, Ingress, running_ingress, write_app

OTHER_PAGE = {"Origin": "http://evil.example"}
GREET = {"workflow": "greet", "parameters": {"name": "Ada"}}
PROXIED = {"X-Forwarded-Proto": "https"}


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_ingress(database_url, amqp_url, write_app(tmp_path), max_wrong_tokens=3) as running:
        yield running


@dataclass
class Browser:
    """What a browser that is logged in sends."""

    ingress: Ingress
    cookie: str
    csrf_token: str
    session: Mapping[str, object]

    async def send(self, method: str, path: str, *, json: object = None, **headers: str) -> Answer:
        own = {"Cookie": self.cookie, "Origin": self.ingress.admin_url, "X-CSRF-Token": self.csrf_token}
        sent = {name: value for name, value in {**own, **headers}.items() if value}
        return await self.ingress.manage(method, path, json=json, headers=sent)

    async def is_logged_in(self) -> bool:
        return (await self.send("GET", "/v1/live/runs", **{"X-Penstock-Background": "1"})).status == 200

    async def age(self, column: str, interval: str) -> None:
        """Let the time of something have been earlier."""
        async with self.ingress.database.connection() as conn:
            await conn.execute(f"UPDATE penstock.console_sessions SET {column} = {column} - interval '{interval}'")


def own_page(ingress: Ingress) -> dict[str, str]:
    return {"Origin": ingress.admin_url}


async def log_in(ingress: Ingress, token: str = ADMIN_TOKEN, **headers: str) -> Browser:
    answer = await ingress.manage(
        "POST", "/console/session", json={"token": token}, headers={**own_page(ingress), **headers}
    )
    assert answer.status == 200, answer.body
    session = cast("Mapping[str, object]", answer.json["session"])
    return Browser(ingress, answer.headers["set-cookie"].split(";")[0], str(session["csrf_token"]), session)


async def make_token(ingress: Ingress, **wanted: object) -> dict[str, object]:
    answer = await ingress.manage("POST", "/v1/live/tokens", json=wanted)
    assert answer.status == 201, answer.body
    return answer.json


async def test_a_session_does_what_its_token_may_and_the_audit_says_who(ingress: Ingress) -> None:
    made = await make_token(ingress, role="operator", label="Ada's laptop", payloads=False)
    browser = await log_in(ingress, str(made["token"]))
    assert browser.session["name"] == "token Ada's laptop"
    assert (browser.session["role"], browser.session["payloads"]) == ("operator", False)
    started = await browser.send("POST", "/v1/live/runs", json=GREET)
    assert (started.status, started.json["parameters"]) == (201, None)
    assert (await browser.send("PUT", "/v1/live/settings", json={"depth_limit": 9})).status == 403
    assert (await browser.send("GET", "/v1/development/runs")).status == 401, "its token is one for live"
    cancelled = await browser.send("POST", f"/v1/live/runs/{started.json['id']}/cancel")
    assert cancelled.status == 200
    assert (await browser.send("DELETE", "/console/session")).status == 200
    assert not await browser.is_logged_in()
    acts = cast("list[dict[str, object]]", (await ingress.manage("GET", "/v1/live/audit")).json["results"])
    by_her = [act["action"] for act in acts if act["actor"] == "token Ada's laptop"]
    assert by_her == ["session.end", "run.cancel", "session.open"]


async def test_what_a_session_gets_is_kept_by_no_browser_and_shown_to_no_other_page(ingress: Ingress) -> None:
    browser = await log_in(ingress)
    for path in ("/v1/live/runs", "/console/session"):
        headers = (await browser.send("GET", path)).headers
        assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["content-security-policy"].startswith("default-src 'none'")


async def test_wrong_tokens_open_no_session_and_are_soon_refused_for_a_while(ingress: Ingress) -> None:
    browser = await log_in(ingress)
    statuses = []
    for _ in range(4):
        body = {"token": "pst_wrong"}
        answer = await ingress.manage("POST", "/console/session", json=body, headers=own_page(ingress))
        statuses.append(answer.status)
        assert "set-cookie" not in answer.headers
    assert statuses == [401, 401, 401, 429]
    assert await browser.is_logged_in(), "sessions are not shut out by those who guess beside them"


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"Origin": "http://evil.example"}, "another page"),
        ({"Origin": "null"}, "another page"),
        ({"Origin": "http://127.0.0.1:1"}, "another page"),
        ({"Origin": "http://["}, "another page"),
        ({"Origin": ""}, "another page"),
        ({"Sec-Fetch-Site": "same-site"}, "another page"),
        ({"Sec-Fetch-Site": "cross-site"}, "another page"),
        ({"Sec-Fetch-Site": "none"}, "another page"),
        ({"X-CSRF-Token": ""}, "X-CSRF-Token"),
        ({"X-CSRF-Token": "0" * 64}, "X-CSRF-Token"),
        ({"X-CSRF-Token": "é"}, "X-CSRF-Token"),
    ],
)
async def test_a_request_that_another_page_makes_changes_nothing(
    ingress: Ingress, headers: dict[str, str], why: str
) -> None:
    browser = await log_in(ingress)
    for method, path in (("POST", "/v1/live/runs"), ("PUT", "/v1/live/settings"), ("DELETE", "/console/session")):
        answer = await browser.send(method, path, json=GREET if method == "POST" else None, **headers)
        assert answer.status == 403, f"{method} {path}"
        assert why in str(answer.json["detail"])
    assert await ingress.fetchval("SELECT count(*) FROM penstock.runs") == 0
    assert await browser.is_logged_in()


async def test_another_page_cannot_log_somebody_in(ingress: Ingress) -> None:
    for headers in ({}, OTHER_PAGE, {**own_page(ingress), "Sec-Fetch-Site": "same-site"}):
        answer = await ingress.manage("POST", "/console/session", json={"token": ADMIN_TOKEN}, headers=headers)
        assert (answer.status, "set-cookie" in answer.headers) == (403, False)
    form = {**own_page(ingress), "Content-Type": "text/plain"}
    answer = await ingress.manage("POST", "/console/session", data=b'{"token": "x"}', headers=form)
    assert answer.status == 415


async def test_a_session_ends_when_nobody_acts_for_half_an_hour(ingress: Ingress) -> None:
    browser = await log_in(ingress)
    await browser.age("last_used_at", "29 minutes")
    assert await browser.is_logged_in(), "and a page that refreshes itself is nobody"
    await browser.age("last_used_at", "2 minutes")
    assert not await browser.is_logged_in()

    browser = await log_in(ingress)
    await browser.age("last_used_at", "29 minutes")
    assert (await browser.send("GET", "/v1/live/runs")).status == 200
    await browser.age("last_used_at", "2 minutes")
    assert await browser.is_logged_in(), "somebody has looked meanwhile"


async def test_a_session_ends_after_twelve_hours_however_busy_it_is(ingress: Ingress) -> None:
    browser = await log_in(ingress)
    await browser.age("expires_at", "11 hours 59 minutes")
    assert await browser.is_logged_in()
    await browser.age("expires_at", "2 minutes")
    assert not await browser.is_logged_in()


async def test_a_session_that_is_over_is_forgotten(ingress: Ingress) -> None:
    over = await log_in(ingress)
    await over.age("expires_at", "13 hours")
    browser = await log_in(ingress)
    async with ingress.database.connection() as conn:
        assert await delete_ended_console_sessions(conn, most=10) == 1
        assert await delete_ended_console_sessions(conn, most=10) == 0
    assert await browser.is_logged_in()


async def test_a_session_ends_with_its_token(ingress: Ingress) -> None:
    made = await make_token(ingress, role="viewer")
    browser = await log_in(ingress, str(made["token"]))
    assert await browser.is_logged_in()
    assert (await ingress.manage("DELETE", f"/v1/live/tokens/{made['id']}")).status == 200
    assert not await browser.is_logged_in()
    again = await ingress.manage("POST", "/console/session", json={"token": made["token"]}, headers=own_page(ingress))
    assert again.status == 401


async def test_another_admin_token_in_the_settings_ends_the_sessions_of_the_old_one(ingress: Ingress) -> None:
    browser = await log_in(ingress)
    async with ingress.database.connection() as conn:
        await conn.execute("UPDATE penstock.console_sessions SET root_digest = sha256('another')")
    assert not await browser.is_logged_in()


async def test_logging_in_again_gives_another_id_and_ends_the_session_before(ingress: Ingress) -> None:
    before = await log_in(ingress)
    after = await log_in(ingress, Cookie=before.cookie)
    assert before.cookie != after.cookie
    assert (await before.is_logged_in(), await after.is_logged_in()) == (False, True)


async def test_a_copy_of_the_database_lets_nobody_in(ingress: Ingress) -> None:
    browser = await log_in(ingress)
    (row,) = await ingress.fetch("SELECT * FROM penstock.console_sessions")
    secret = browser.cookie.partition("=")[2]
    assert secret.encode() not in bytes(row["digest"])
    for guess in (row["digest"].hex(), browser.csrf_token, "", "x" * 5000):
        browser.cookie = f"{browser.cookie.partition('=')[0]}={guess}"
        assert not await browser.is_logged_in()


async def test_the_cookie_is_out_of_reach_of_scripts_other_sites_and_plain_http(
    database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    app = write_app(tmp_path)
    async with running_ingress(database_url, amqp_url, app, trusted_proxies="127.0.0.1") as ingress:
        body = {"token": ADMIN_TOKEN}
        plain = await ingress.manage("POST", "/console/session", json=body, headers=own_page(ingress))
        name, *attributes = plain.headers["set-cookie"].split("; ")
        assert name.startswith(f"penstock_{ingress.settings.admin_port}=")
        assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"} == set(attributes)
        own = {"Origin": ingress.admin_url.replace("http:", "https:")}
        secure = await ingress.manage("POST", "/console/session", json=body, headers={**own, **PROXIED})
        name, *attributes = secure.headers["set-cookie"].split("; ")
        assert name.startswith("__Host-penstock=")
        assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200", "Secure"} == set(attributes)
        crossed = await ingress.manage("GET", "/v1/live/runs", headers={"Cookie": name})
        assert crossed.status == 401, "the cookie of HTTPS does not count without it"


async def test_what_nobody_trusted_says_of_https_does_not_count(ingress: Ingress) -> None:
    body = {"token": ADMIN_TOKEN}
    answer = await ingress.manage("POST", "/console/session", json=body, headers={**own_page(ingress), **PROXIED})
    assert "Secure" not in answer.headers["set-cookie"]


async def test_a_user_of_the_app_is_not_let_in(ingress: Ingress) -> None:
    async with ingress.database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO penstock.tokens (id, digest, user_id, environment, expires_at, created_by)
            VALUES (gen_random_uuid(), sha256('of a user'), '1x1', 'live', now() + interval '1 day', 'test')
            """
        )
    answer = await ingress.manage("POST", "/console/session", json={"token": "of a user"}, headers=own_page(ingress))
    assert answer.status == 401


async def test_every_address_of_the_console_answers_the_shell_and_its_files_are_kept_for_good(ingress: Ingress) -> None:
    html = {"Accept": "text/html"}
    pages = [
        await ingress.manage("GET", path, headers=html)
        for path in ("/", "/console", "/console/", "/console/live/runs/x%2Fy", "/console/%00")
    ]
    assert {page.status for page in pages} == {200}
    assert len({page.body for page in pages}) == 1
    assert pages[0].headers["content-security-policy"] == POLICY
    shell = pages[0].body.decode()
    assert "<style" not in shell
    assert "onload" not in shell
    links = [part.split('"')[0] for part in shell.split('="')[1:] if part.startswith("/console/static/")]
    assert any(link.endswith("/app.js") for link in links)
    for link in links:
        plain = await ingress.manage("GET", link, headers={"Accept-Encoding": "identity"})
        zipped = await ingress.manage("GET", link, headers={"Accept-Encoding": "gzip"})
        assert (plain.status, plain.body) == (200, zipped.body), "aiohttp unpacks it"
        assert int(zipped.headers["content-length"]) <= len(plain.body)
        assert zipped.headers["content-encoding"] == "gzip"
        assert "immutable" in plain.headers["cache-control"]
        assert plain.headers["x-content-type-options"] == "nosniff"
        if link.endswith(".js"):
            assert plain.headers["content-type"] == "text/javascript; charset=utf-8"
    other = await ingress.manage("GET", "/console/static/0123/app.js", headers=html)
    assert (other.status, other.headers["cache-control"]) == (200, "no-store")
    for path in (
        "/console/static/0123/../../assets.py",
        "/console/static/0/%2e%2e/assets.py",
        "/console/static/0123/no.js",
    ):
        answer = await ingress.manage("GET", path, headers=html)
        assert answer.status == 404 or answer.body == pages[0].body, "nothing but the files of the console"
