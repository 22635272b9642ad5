"""A caller that does not give up: posts requests with idempotency keys until each is accepted, and knows which were."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import aiohttp

from tests.acceptance.installation import ADMIN_TOKEN

RETRIED = {408, 500, 502, 503, 504}
"""408 too: on a machine that is busy enough, the head of a request takes longer than an ingress waits for it."""


class Load:
    """Calls one API workflow once per name, `width` at a time, repeating a call with its key until it is accepted."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        urls: Callable[[], Sequence[str]],
        workflow: str,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        self._http = http
        self._urls = urls
        self._workflow = workflow
        self._parameters = parameters or {}
        self.accepted: dict[str, str] = {}
        self.refusals: list[tuple[int, str | None]] = []

    async def run(self, names: Sequence[str], *, width: int = 20, within: float = 90) -> None:
        """Return when every name was accepted."""
        waiting = iter(names)

        async def work() -> None:
            for name in waiting:
                await self._call(name)

        async with asyncio.timeout(within):
            await asyncio.gather(*(work() for _ in range(width)))

    async def _call(self, name: str) -> None:
        attempt = 0
        while name not in self.accepted:
            urls = self._urls()
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                await self._post(urls[attempt % len(urls)], name)
            attempt += 1
            if name not in self.accepted:
                await asyncio.sleep(0.1)

    async def _post(self, url: str, name: str) -> None:
        async with self._http.post(
            f"{url}/api/1.1/wf/{self._workflow}",
            json={"name": name, **self._parameters},
            headers={"Authorization": f"Bearer {ADMIN_TOKEN}", "Idempotency-Key": name},
            timeout=aiohttp.ClientTimeout(total=10),
        ) as response:
            text = await response.text()
            if response.status in {200, 202}:
                self.accepted[name] = response.headers["Penstock-Run-Id"]
                return
            assert response.status in RETRIED, (response.status, text)
            self.refusals.append((response.status, response.headers.get("Retry-After")))


def names(count: int) -> list[str]:
    """`count` different names."""
    return [f"order-{number:05}" for number in range(count)]
