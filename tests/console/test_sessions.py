"""Logging in to the console and out of it, in a browser; that nothing else gets in."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from playwright.async_api import Page, expect

from penstock.testing.ports import find_port
from tests.acceptance.installation import ADMIN_TOKEN
from tests.console.browsing import Browsing

REFUSED = r"status of 40[13]"


async def fill_in(page: Page, token: str) -> None:
    await page.get_by_label("Admin token").fill(token)
    await page.get_by_role("button", name="Log in").click()


async def count_runs(console: Browsing) -> object:
    return await console.installation.fetchval("SELECT count(*) FROM penstock.runs")


async def test_somebody_logs_in_where_a_link_led_and_out_again(console: Browsing) -> None:
    async with console.context() as context:
        page = await context.new_page()
        await page.goto(console.address("runs?state=failed"))
        await expect(page).to_have_title("Log in · Penstock")
        await fill_in(page, ADMIN_TOKEN)
        await expect(page.get_by_role("heading", name="Runs")).to_be_visible()
        assert page.url == console.address("runs?state=failed")
        (cookie,) = await context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
        assert await page.evaluate("document.cookie") == ""
        await page.get_by_role("button", name="Log out").click()
        await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        assert await context.cookies() == []


async def test_a_wrong_token_is_refused_with_what_to_do(console: Browsing) -> None:
    async with console.context(expected=REFUSED) as context:
        page = await context.new_page()
        await page.goto(f"{console.origin}/")
        await fill_in(page, "pst_wrong")
        await expect(page.get_by_role("alert")).to_contain_text("this is not an admin token that holds")
        await expect(page.get_by_label("Admin token")).to_be_visible()
        assert await context.cookies() == []


async def test_the_first_page_leads_to_the_overview(console: Browsing) -> None:
    async with console.logged_in("runs") as page:
        await page.goto(f"{console.origin}/")
        await expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
        assert page.url == console.address("overview")


async def test_a_session_that_has_expired_ends_the_page_where_it_is(console: Browsing) -> None:
    id, token = await console.make_token(role="viewer", label="expires")
    async with console.logged_in("runs", token=token, expected=REFUSED) as page:
        await expect(page.get_by_role("heading", name="Runs")).to_be_visible()
        async with console.installation.database.connection() as conn:
            await conn.execute(
                "UPDATE penstock.console_sessions SET last_used_at = last_used_at - interval '31 minutes' "
                "WHERE token_id = $1::uuid",
                id,
            )
        await expect(page.get_by_text("Your session has ended")).to_be_visible()
        assert page.url == console.address("runs")
        await fill_in(page, token)
        await expect(page.get_by_role("heading", name="Runs")).to_be_visible()


async def test_a_revoked_token_ends_its_session(console: Browsing) -> None:
    id, token = await console.make_token(role="operator", label="revoked")
    async with console.logged_in("runs", token=token, expected=REFUSED) as page:
        await expect(page.get_by_role("heading", name="Runs")).to_be_visible()
        status, _ = await console.installation.manage(console.ingress, "DELETE", f"live/tokens/{id}")
        assert status == 200
        await expect(page.get_by_text("Your session has ended")).to_be_visible()


@asynccontextmanager
async def another_site(body: str) -> AsyncIterator[str]:
    """The origin of a site of somebody else, on this machine, whose only page is this."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = find_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


ATTACK = """<!doctype html><title>attack</title>
<form id="form" method="post" enctype="text/plain" action="{admin}/v1/live/runs" target="frame">
<input name='{{"workflow": "pack_order", "parameters": {{"number": "' value='"}}}}'></form>
<iframe name="frame"></iframe>
<script>
(async () => {{
  document.getElementById("form").submit();
  const tries = [
    ["{admin}/v1/live/runs", {{method: "POST", body: '{{"workflow": "pack_order", "parameters": {{"number": "x"}}}}'}}],
    ["{admin}/console/session", {{method: "DELETE"}}],
    ["{admin}/console/session", {{method: "POST", body: '{{"token": "{token}"}}'}}],
    ["{admin}/console/session", {{}}],
  ];
  const said = [];
  for (const [url, options] of tries) {{
    for (const mode of ["cors", "no-cors"]) {{
      try {{ said.push((await (await fetch(url, {{...options, mode, credentials: "include"}})).text()).slice(0, 50)); }}
      catch (error) {{ said.push("refused"); }}
    }}
  }}
  document.title = "over: " + said.join("|");
}})();
</script>"""


READ, DELETED, SHOWN = ("refused", ""), ("refused", "refused"), ("refused", "refused")
"""What a site gets of another's answer, with and without `cors`: nothing, or not even that it came."""


async def test_another_site_can_neither_act_with_a_session_nor_read_of_it(console: Browsing) -> None:
    body = ATTACK.format(admin=console.origin, token=ADMIN_TOKEN)
    async with another_site(body) as origin, console.context(expected=r".") as context:
        await console.log_in(context)
        before = await count_runs(console)
        page = await context.new_page()
        statuses: list[int] = []
        page.on("response", lambda one: statuses.append(one.status) if one.url.startswith(console.origin) else None)
        await page.goto(origin)
        await expect(page).to_have_title(re.compile("^over"))
        assert await page.title() == "over: " + "|".join([*READ, *DELETED, *READ, *SHOWN])
        assert await count_runs(console) == before
        assert 403 in statuses
        assert not {200, 201} & set(statuses[:-1]), statuses
        await page.goto(console.address("runs"))
        await expect(page.get_by_role("heading", name="Runs")).to_be_visible()


async def test_a_viewer_sees_no_buttons_and_is_refused_all_the_same(console: Browsing) -> None:
    _, token = await console.make_token(role="viewer", label="looks", payloads=False)
    async with console.logged_in("settings", token=token, expected=REFUSED) as page:
        await expect(page.get_by_role("heading", name="Limits")).to_be_visible()
        buttons = await page.get_by_role("main").get_by_role("button").all_inner_texts()
        assert [text for text in buttons if text not in {"Older", "Newest"}] == []
        status = await page.evaluate(
            """async () => {
                const {session} = await (await fetch("/console/session")).json();
                const headers = {"X-CSRF-Token": session.csrf_token, "Content-Type": "application/json"};
                const body = JSON.stringify({depth_limit: 3});
                return (await fetch("/v1/live/settings", {method: "PUT", headers, body})).status;
            }"""
        )
        assert status == 403


async def test_one_session_that_ends_leaves_another_alone(console: Browsing) -> None:
    async with console.logged_in("runs") as mine, console.logged_in("runs") as other:
        for page in (mine, other):
            await expect(page.get_by_role("heading", name="Runs")).to_be_visible()
        await mine.get_by_role("button", name="Log out").click()
        await expect(mine.get_by_role("heading", name="Log in")).to_be_visible()
        await other.reload()
        await expect(other.get_by_role("heading", name="Runs")).to_be_visible()


async def test_somebody_logs_in_by_the_issuer_of_the_settings(console: Browsing) -> None:
    console.issuer.claims = {"email": "ada@example.com", "email_verified": True, "groups": ["nobody"]}
    async with console.context(expected=console.issuer.url) as context:
        page = await context.new_page()
        await page.goto(console.address("runs?state=failed"))
        await page.get_by_role("link", name="Log in with Example Ltd").click()
        await expect(page.get_by_role("alert")).to_contain_text("nobody has given you a role here")
        console.issuer.claims["groups"] = ["staff"]
        await page.goto(console.address("runs?state=failed"))
        await page.get_by_role("link", name="Log in with Example Ltd").click()
        await expect(page.get_by_role("heading", name="Runs")).to_be_visible()
        assert page.url == console.address("runs?state=failed")
        menu = page.get_by_role("navigation", name="Pages")
        await expect(menu).to_contain_text("oidc:ada@example.com")
        await expect(menu).to_contain_text("without payloads")
