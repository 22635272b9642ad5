"""Seeing and steering with the console: what a person does there happens, and is seen without loading a page again."""

import re
from typing import cast
from uuid import uuid4

from playwright.async_api import Locator, Page, expect

from tests.console.browsing import NARROW, Browsing, Look
from tests.console.story import HOSTILE, JsonObject, Story, deliver, find_run, start, wait_until
from tests.eventually import eventually


def part(page: Page, title: str) -> Locator:
    """The part of a page with this heading."""
    return page.get_by_role("region", name=title, exact=True)


async def press(page: Page, label: str, *, confirm: bool = False) -> None:
    """Press a button of the page, and the one of the question that it asks."""
    await page.get_by_role("main").get_by_role("button", name=label, exact=True).first.click()
    if confirm:
        await page.get_by_role("dialog").get_by_role("button", name=label, exact=True).click()


async def test_a_run_is_seen_as_soon_as_it_is_accepted(console: Browsing, story: Story) -> None:
    async with console.logged_in("runs?workflow=pack_order") as page:
        await expect(page.get_by_role("table")).to_be_visible()
        mark = uuid4().hex
        run, _ = await start(console, "pack_order", {"number": mark})
        await expect(page.locator(f'a[href$="/runs/{run}"]')).to_be_visible()
        await page.get_by_label("Contains text").fill(mark)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("table").get_by_role("row")).to_have_count(2)
        assert f"contains={mark}" in page.url
        await page.get_by_role("link", name="pack_order").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("pack_order")
        await expect(page.get_by_role("heading", level=1)).to_contain_text("succeeded")


async def test_a_webhook_is_followed_to_its_run_and_on_to_its_children(console: Browsing, story: Story) -> None:
    async with console.logged_in("webhooks") as page:
        await expect(part(page, "Sources")).to_contain_text("/webhooks/github")
        await expect(part(page, "Sources")).to_contain_text("on_push")
        delivery = await deliver(console, {"ref": "refs/heads/main", "note": "follow me"})
        await page.locator(f'a[href$="/webhooks/{delivery["id"]}"]').click()
        await expect(page.get_by_role("heading", level=1)).to_be_focused()
        await expect(part(page, "Facts")).to_contain_text("genuine")
        await expect(part(page, "Body")).to_contain_text("follow me")
        await expect(part(page, "Headers")).to_contain_text("x-github-event")
        (run,) = cast("list[str]", delivery["run_ids"])
        await page.locator(f'a[href$="/runs/{run}"]').click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("on_push")
        await expect(part(page, "Steps")).to_contain_text("notified")
        await part(page, "Chain").get_by_role("link", name="pack_order").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("pack_order")
        await expect(part(page, "Parameters")).to_contain_text("refs/heads/main")
        await part(page, "Chain").locator(f'a[href$="/runs/{run}"]').click()
        await part(page, "Facts").get_by_role("link", name="a delivery").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("github")


async def test_a_delivery_is_replayed(console: Browsing, story: Story) -> None:
    async with console.logged_in(f"webhooks/{story.delivery}") as page:
        await press(page, "Replay", confirm=True)
        await expect(part(page, "Facts")).to_contain_text("Replay of")
        await expect(page.get_by_role("status")).to_contain_text(["Replayed: 1 runs."])
        assert not page.url.endswith(story.delivery)
        await part(page, "Facts").locator(f'a[href$="/webhooks/{story.delivery}"]').click()
        await expect(part(page, "Facts")).to_contain_text("Replays")
        await expect(part(page, "Facts").get_by_text("none", exact=True)).to_have_count(0)


async def test_a_run_says_why_it_waits_and_is_cancelled(console: Browsing) -> None:
    run, _ = await start(console, "await_payment", {"number": "B-1"})
    async with console.logged_in(f"runs/{run}") as page:
        await expect(page.get_by_role("main")).to_contain_text("A step waits for a signal.")
        await press(page, "Cancel run", confirm=True)
        await expect(page.get_by_role("heading", level=1)).to_contain_text("cancelled")
        await expect(page.get_by_role("button", name="Cancel run")).to_have_count(0)
    assert (await find_run(console, run))["state"] == "cancelled"


async def test_a_question_can_be_left_and_gives_the_focus_back(console: Browsing) -> None:
    run, _ = await start(console, "await_payment", {"number": "B-2"})
    async with console.logged_in(f"runs/{run}", look=Look(NARROW)) as page:
        button = page.get_by_role("button", name="Cancel run")
        await button.focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_contain_text("What it has done stays done")
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(button).to_be_focused()
    assert (await find_run(console, run))["state"] == "waiting"


async def test_a_failed_run_is_retried_from_the_step_that_failed(console: Browsing) -> None:
    run, _ = await start(console, "charge_card", {"number": "C-1", "amount": 500})
    await wait_until(console, run, "failed")
    async with console.logged_in(f"runs/{run}") as page:
        await expect(page.get_by_role("main")).to_contain_text("the card of C-1 was refused")
        await expect(part(page, "Facts")).to_contain_text("1 begun")
        await press(page, "Retry")
        await expect(part(page, "Facts")).to_contain_text("2 begun")
        await part(page, "Steps").get_by_text("kept", exact=True).click()
        await expect(part(page, "Steps")).to_contain_text("attempt 1")


async def test_another_run_is_started_from_a_filled_form(console: Browsing) -> None:
    run, _ = await start(console, "take_order", {"number": "D-1", "total": 12.5, "note": "gift"})
    async with console.logged_in(f"runs/{run}") as page:
        await press(page, "Start another")
        window = page.get_by_role("dialog")
        await expect(window.get_by_label("number")).to_have_value("D-1")
        await expect(window.get_by_label("total")).to_have_value("12.5")
        await window.get_by_label("total").fill("a lot")
        await window.get_by_role("button", name="Start run").click()
        await expect(window.get_by_role("alert")).to_contain_text("total: this is not JSON for number")
        await window.get_by_label("total").fill("13.25")
        await window.get_by_label("number").fill("D-2")
        await window.get_by_role("button", name="Start run").click()
        await expect(part(page, "Parameters")).to_contain_text("D-2")
        await expect(part(page, "Parameters")).to_contain_text("13.25")
        assert not page.url.endswith(run)


async def test_a_limit_is_edited_and_the_audit_says_who(console: Browsing) -> None:
    here = "development"  # other tests rely on the limits of live
    _, token = await console.make_token(here, role="admin", label="Grace")
    async with console.logged_in("settings", environment=here, token=token, expected="status of 422") as page:
        await part(page, "Limits").get_by_label("Depth limit").fill("nine")
        await press(page, "Save limits")
        await expect(part(page, "Limits").get_by_role("alert")).to_contain_text("Depth limit: this is not a number")
        await part(page, "Limits").get_by_label("Depth limit").fill("9")
        await press(page, "Save limits")
        await expect(part(page, "Audit log").get_by_role("row").filter(has_text="settings.set").first).to_contain_text(
            "token Grace"
        )
        await part(page, "Limits").get_by_label("Kept for").fill("1h")
        await press(page, "Save limits")
        await expect(part(page, "Limits").get_by_role("alert")).to_contain_text("retention")
    _, settings = await console.installation.manage(console.ingress, "GET", f"{here}/settings")
    assert cast("JsonObject", settings)["depth_limit"] == 9


async def test_a_token_is_made_shown_once_and_revoked(console: Browsing) -> None:
    async with console.logged_in("settings") as page:
        await press(page, "Make a token")
        await page.get_by_role("dialog").get_by_label("Label").fill(HOSTILE[:90])
        await page.get_by_role("dialog").get_by_role("button", name="Make token").click()
        made = page.get_by_role("dialog", name="Your token")
        token = await made.locator("code").inner_text()
        assert token.startswith("pst_")
        await made.get_by_role("button", name="I have it").click()
        await expect(page.get_by_text(token)).to_have_count(0)
        row = part(page, "Tokens").get_by_role("row").filter(has_text="<script>").first
        await expect(row).to_contain_text("viewer")
        await row.get_by_role("button", name="Revoke").click()
        await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        await expect(part(page, "Tokens").get_by_role("row").filter(has_text="<script>")).to_have_count(0)


async def test_markup_from_outside_is_shown_as_text_on_every_page(console: Browsing, story: Story) -> None:
    shown = {
        f"runs/{story.run}": ("Parameters", "Chain"),
        f"runs/{story.delivered_run}": ("Parameters", "Result"),
        f"webhooks/{story.delivery}": ("Body",),
        "runs?" + "contains=<script>": (),
    }
    async with console.logged_in() as page:
        for path, parts in shown.items():
            await page.goto(console.address(path))
            await expect(page.get_by_role("heading", level=1)).to_be_visible()
            for title in parts:
                await expect(part(page, title)).to_be_visible()
            if parts:
                await expect(page.get_by_role("main")).to_contain_text("<script>document.title")
            assert await page.locator("img, #app script, iframe").count() == 0, path
            assert "broken" not in await page.title()
            for summary in await page.get_by_role("main").locator("summary").all():
                await summary.click()
            assert "broken" not in await page.title()


async def test_a_page_is_used_with_the_keyboard_alone(console: Browsing, story: Story) -> None:
    async with console.logged_in("runs") as page:
        await expect(page.get_by_role("table")).to_be_visible()
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        await expect(page.get_by_label("Workflow")).to_be_focused()
        await page.keyboard.type("charge_card")
        await page.keyboard.press("Enter")
        await expect(page).to_have_url(re.compile("workflow=charge_card"))

        async def is_filtered() -> bool:
            names = await page.get_by_role("table").get_by_role("rowheader").all_inner_texts()
            return set(names) == {"charge_card"}

        await eventually(is_filtered)


async def test_a_page_says_when_it_is_not_up_to_date_and_recovers(console: Browsing, story: Story) -> None:
    async with console.logged_in("runs", expected=r"ERR_FAILED|Failed to load") as page:
        await expect(page.get_by_role("table")).to_be_visible()
        await page.route("**/v1/live/**", lambda route: route.abort())
        await start(console, "pack_order", {"number": "E-1"})
        await expect(page.get_by_text("Not up to date")).to_be_visible()
        await expect(page.get_by_role("table")).to_be_visible()
        await page.unroute("**/v1/live/**")
        await expect(page.get_by_text("Not up to date")).to_have_count(0)
