"""Makes the pictures of the documents: `python -m tests.console.screenshots [DIRECTORY] [PAGE …]` writes each page wide
and narrow, by default all of them into docs/console. They are WebP, which is a third of the size of PNG.
"""

import asyncio
import base64
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Page, expect

from tests.console.browsers import running_browser
from tests.console.browsing import NARROW, WIDE, Browsing, Look
from tests.console.running import running_console
from tests.console.story import Story, tell
from tests.servers import migrated_template, provide_servers

DIRECTORY = Path(__file__).parents[2] / "docs" / "console"
LOGIN = "login"
SHOWN = {
    "overview": "overview",
    "runs": "runs",
    "run": "runs/{delivered_run}",
    "webhooks": "webhooks",
    "delivery": "webhooks/{delivery}",
    "settings": "settings",
    "chains": "chains",
    "chain": "chains/{cut}",
    "schedule": "schedule",
    "logs": "logs",
    "workflows": "workflows",
    "workflow": "workflows/describe_parcel",
    "workload": "workload",
    "dead-letters": "dead-letters",
    "dead-letter": "dead-letters/{run}",
    "data": "data/order",
    LOGIN: "overview",
}
"""By the name of the file: the address below the environment."""
DARK = frozenset({"run", "chain"})
LOOKS = {"wide": Look(WIDE), "narrow": Look(NARROW), "dark": Look(WIDE, "dark")}
QUALITY = 60
"""Of 100: text stays sharp."""


async def main(directory: Path, names: list[str]) -> None:
    """Take the pictures."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        async with (
            provide_servers() as servers,
            migrated_template(servers.database_url) as template,
            running_browser() as browser,
            running_console(servers, template, browser, Path(place)) as console,
        ):
            story = await tell(console, "refs/heads/main")
            for name in names or SHOWN:
                await take(console, story, name, directory)


async def take(console: Browsing, story: Story, name: str, directory: Path) -> None:
    """The pictures of one page; some in the dark too."""
    for look, how in LOOKS.items():
        if look == "dark" and name not in DARK:
            continue
        async with console.context(how) as context:
            if name != LOGIN:
                await console.log_in(context)
            page = await context.new_page()
            await page.goto(console.address(story.fill(SHOWN[name])))
            await expect(page.locator("h1")).to_be_visible()
            await expect(page.locator(".loading")).to_have_count(0)
            (directory / f"{name}-{look}.webp").write_bytes(await picture(page))


async def picture(page: Page) -> bytes:
    """What the window shows, as WebP, which playwright itself does not write."""
    devtools = await page.context.new_cdp_session(page)
    shot = await devtools.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    return base64.b64decode(shot["data"])


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY, sys.argv[2:]))
