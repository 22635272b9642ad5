"""The outside service of the story: a carrier that does not answer the first time it is asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from penstock.http_server import serving

HOST: Final = "127.0.0.1"


class Carrier:
    """Books what it is asked for, once per Idempotency-Key. `keys` are those it was asked with, in order."""

    def __init__(self) -> None:
        self.keys: list[str | None] = []
        self.was_asked = asyncio.Event()
        self.url = ""

    async def book(self, request: web.Request) -> web.Response:
        """`POST /bookings`: hangs the first time, so that the caller can be killed in the middle."""
        self.keys.append(request.headers.get("Idempotency-Key"))
        self.was_asked.set()
        if len(self.keys) == 1:
            await asyncio.Event().wait()
        return web.json_response({"reference": f"BOOKING-{len(self.keys)}"})


@asynccontextmanager
async def running_carrier() -> AsyncIterator[Carrier]:
    """A carrier on a free local port, while the block runs."""
    carrier = Carrier()
    app = web.Application()
    app.router.add_post("/bookings", carrier.book)
    async with serving(app, HOST, 0, limit_seconds=0.1) as port:
        carrier.url = f"http://{HOST}:{port}/bookings"
        yield carrier
