"""Makes the pictures of the documents: `python -m tests.console.screenshots [DIRECTORY] [PAGE …]` writes each page wide
and narrow, by default all of them into docs/console.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from playwright.async_api import expect

from tests.console.browsers import running_browser
from tests.console.browsing import NARROW, WIDE, Browsing, Look
from tests.console.running import running_console
from tests.console.story import Story, tell
from tests.servers import migrated_template, provide_servers

DIRECTORY = Path(__file__).parents[2] / "docs" / "console"
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
    "data": "data/order",
}
"""By the name of the file: the address below the environment."""
LOOKS = {"wide": Look(WIDE), "narrow": Look(NARROW), "dark": Look(WIDE, "dark")}


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
    """The pictures of one page; dark ones of a run alone."""
    for look, how in LOOKS.items():
        if look == "dark" and name != "run":
            continue
        async with console.logged_in(story.fill(SHOWN[name]), look=how) as page:
            await expect(page.locator("h1")).to_be_visible()
            await expect(page.locator(".loading")).to_have_count(0)
            await page.screenshot(path=directory / f"{name}-{look}.png")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY, sys.argv[2:]))
