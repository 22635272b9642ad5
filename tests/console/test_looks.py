"""Every page, wide and narrow, in light and dark: nothing that keeps people out, no error, nothing beyond the edge."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import cast

import pytest
from playwright.async_api import Page, expect

from tests.console.browsing import NARROW, WIDE, Browsing, Complaints, Look, Scheme
from tests.console.pages import PAGES
from tests.console.story import Story

AXE = (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
GRAVE = {"serious", "critical"}
OF_LOOKS = ("color-contrast", "target-size", "scrollable-region-focusable", "link-in-text-block")
"""The rules of axe-core that depend on width and colours: all others find the same whatever a page looks like."""


@dataclass
class Tab:
    """A page that is logged in and stays open, with what it complains of. `axe` is in it from the start."""

    page: Page
    complaints: Complaints


@pytest.fixture(scope="module")
async def tab(console: Browsing) -> AsyncIterator[Tab]:
    """One for all tests: a page of its own for each of them would begin a session and fetch the modules again."""
    async with console.context() as context:
        await context.add_init_script(AXE)
        await console.log_in(context)
        complaints = Complaints(console.origin)
        complaints.watch(context)
        yield Tab(await context.new_page(), complaints)


async def find_barriers(page: Page, rules: Sequence[str] | None = None) -> list[str]:
    """What axe-core finds by these rules, or by all, that is serious or worse."""
    options: dict[str, object] = {"resultTypes": ["violations"], "preload": False}
    if rules is not None:
        options["runOnly"] = {"type": "rule", "values": [*rules]}
    found = await page.evaluate("async (options) => (await axe.run(document, options)).violations", options)
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {node['html'][:200]}"
        for one in cast("list[dict[str, object]]", found)
        if one["impact"] in GRAVE
        for node in cast("list[dict[str, str]]", one["nodes"])
    ]


async def measure_overflow(page: Page) -> int:
    """How many pixels wider than the window the page is."""
    return int(await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


async def look_from_every_side(page: Page) -> None:
    """Fails with what somebody would stumble over, in two pairs of width and scheme that share no layout or colour."""
    await expect(page.locator("h1").first).to_be_visible()
    await expect(page.locator(".loading")).to_have_count(0)
    sides: tuple[tuple[tuple[int, int], Scheme, Sequence[str] | None], ...] = (
        (NARROW, "dark", None), (WIDE, "light", OF_LOOKS),
    )  # fmt: skip
    for size, scheme, rules in sides:
        await page.set_viewport_size({"width": size[0], "height": size[1]})
        await page.emulate_media(color_scheme=scheme)
        assert await measure_overflow(page) <= 0, f"{page.url} is wider than {size[0]} px"
        barriers = await find_barriers(page, rules)
        assert not barriers, f"{page.url}, {size[0]} px, {scheme}: {json.dumps(barriers, indent=1)}"


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_keeps_nobody_out(console: Browsing, tab: Tab, story: Story, path: str) -> None:
    await tab.page.goto(console.address(story.fill(path)))
    await look_from_every_side(tab.page)
    said = tab.complaints.unexpected
    tab.complaints.found.clear()
    assert not said, said


async def test_the_login_page_keeps_nobody_out(console: Browsing) -> None:
    async with console.context(Look()) as context:
        await context.add_init_script(AXE)
        page = await context.new_page()
        await page.goto(console.address("runs"))
        await look_from_every_side(page)
