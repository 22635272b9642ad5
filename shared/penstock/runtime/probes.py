"""The three probes of a service's admin port."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final

from aiohttp import web

from penstock.metrics import render_metrics

METRICS_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Check = Callable[[], Awaitable[bool]]


def add_probes(app: web.Application, checks: Mapping[str, Check], *, required: Collection[str] | None = None) -> None:
    """Add `/healthz` (this loop turns), `/readyz` (every required check holds, by default all; the answer names each)
    and `/metrics`.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        states = dict(zip(checks, await asyncio.gather(*(check() for check in checks.values())), strict=True))
        is_ready = all(holds for name, holds in states.items() if required is None or name in required)
        body = {"status": "ready" if is_ready else "unavailable", "checks": states}
        return web.json_response(body, status=200 if is_ready else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=render_metrics(), headers={"Content-Type": METRICS_CONTENT_TYPE})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
