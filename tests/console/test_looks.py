"""Every page, wide and narrow, in light and dark: nothing that keeps people out, no error, nothing beyond the edge."""

import json
from importlib.resources import files
from typing import cast

import pytest
from playwright.async_api import Page, expect

from tests.console.browsing import NARROW, WIDE, Browsing, Look
from tests.console.pages import PAGES
from tests.console.story import Story

AXE = (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
GRAVE = {"serious", "critical"}


async def find_barriers(page: Page) -> list[str]:
    """What axe-core finds that is serious or worse."""
    await page.evaluate(f"window.axe || (() => {{ {AXE} }})()")
    found = await page.evaluate("axe.run(document)")
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {node['html'][:200]}"
        for one in cast("list[dict[str, object]]", found["violations"])
        if one["impact"] in GRAVE
        for node in cast("list[dict[str, str]]", one["nodes"])
    ]


async def measure_overflow(page: Page) -> int:
    """How many pixels wider than the window the page is."""
    return int(await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


async def look_from_every_side(page: Page, *, heading: str = "h1") -> None:
    """Fails with what somebody would stumble over, in two pairs of width and scheme that share no layout or colour."""
    await expect(page.locator(heading).first).to_be_visible()
    await expect(page.locator(".loading")).to_have_count(0)
    for size, scheme in ((WIDE, "light"), (NARROW, "dark")):
        await page.set_viewport_size({"width": size[0], "height": size[1]})
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        assert await measure_overflow(page) <= 0, f"{page.url} is wider than {size[0]} px"
        barriers = await find_barriers(page)
        assert not barriers, f"{page.url}, {size[0]} px, {scheme}: {json.dumps(barriers, indent=1)}"


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_keeps_nobody_out(console: Browsing, story: Story, path: str) -> None:
    async with console.logged_in(story.fill(path)) as page:
        await look_from_every_side(page)


async def test_the_login_page_keeps_nobody_out(console: Browsing) -> None:
    async with console.context(Look()) as context:
        page = await context.new_page()
        await page.goto(console.address("runs"))
        await look_from_every_side(page)
