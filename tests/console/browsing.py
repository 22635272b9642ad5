"""A person before the console: pages of a browser, logged in, that may not report errors or ask others for anything."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect

from tests.acceptance.installation import ADMIN_TOKEN, Installation, Service
from tests.openid_issuer import Issuer

WIDE = (1440, 900)
NARROW = (390, 844)
Scheme = Literal["light", "dark"]
expect.set_options(timeout=15_000)  # a busy machine takes its time


@dataclass(frozen=True, slots=True)
class Look:
    """How a page is looked at."""

    size: tuple[int, int] = WIDE
    scheme: Scheme = "light"


@dataclass
class Complaints:
    """What pages have reported, and what they have asked of others. `expected`: what a test brings about."""

    origin: str
    expected: str = r"(?!)"
    found: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        """Listen to every page of this context."""
        context.on("console", self._hear)
        context.on("weberror", lambda error: self.found.append(f"error: {error.error}"))
        context.on("request", self._see)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.found.append(f"{message.type}: {message.text} {message.location.get('url', '')}")

    def _see(self, request: Request) -> None:
        if not request.url.startswith((self.origin, "data:", "about:")):
            self.found.append(f"request: {request.url}")

    @property
    def unexpected(self) -> list[str]:
        return [text for text in self.found if not re.search(self.expected, text)]


@dataclass
class Browsing:
    """Opens pages of the console of a running installation."""

    browser: Browser
    installation: Installation
    ingress: Service
    issuer: Issuer

    @property
    def origin(self) -> str:
        return self.ingress.admin_url

    def address(self, path: str, environment: str = "live") -> str:
        """The address of a page: `runs?state=failed`."""
        return f"{self.origin}/console/{environment}/{path}"

    @asynccontextmanager
    async def context(self, look: Look | None = None, *, expected: str = r"(?!)") -> AsyncIterator[BrowserContext]:
        """A browser profile without any cookie. At its end no page of it may have complained but of what is
        `expected` (a pattern).
        """
        look = look or Look()
        context = await self.browser.new_context(
            viewport={"width": look.size[0], "height": look.size[1]}, color_scheme=look.scheme, reduced_motion="reduce"
        )
        context.set_default_timeout(20_000)
        complaints = Complaints(self.origin, expected)
        complaints.watch(context)
        try:
            yield context
        finally:
            await context.close()
        assert not complaints.unexpected, complaints.unexpected

    @asynccontextmanager
    async def logged_in(
        self,
        path: str = "runs",
        *,
        environment: str = "live",
        token: str = ADMIN_TOKEN,
        look: Look | None = None,
        expected: str = r"(?!)",
    ) -> AsyncIterator[Page]:
        """A page of the console, logged in with `token`."""
        async with self.context(look, expected=expected) as context:
            await self.log_in(context, token)
            page = await context.new_page()
            await page.goto(self.address(path, environment))
            yield page

    async def log_in(self, context: BrowserContext, token: str = ADMIN_TOKEN) -> None:
        """Log a profile in without a page: the form has a test of its own."""
        answer = await context.request.post(
            f"{self.origin}/console/session", data={"token": token}, headers={"Origin": self.origin}
        )
        assert answer.status == 200, await answer.text()

    async def make_token(self, environment: str = "live", **wanted: object) -> tuple[str, str]:
        """The id of a new admin token, and the token."""
        status, made = await self.installation.manage(self.ingress, "POST", f"{environment}/tokens", wanted)
        assert status == 201, made
        assert isinstance(made, dict)
        return str(made["id"]), str(made["token"])
