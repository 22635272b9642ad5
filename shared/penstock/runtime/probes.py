"""The three probes of a service's admin port."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from penstock.metrics import STUCK_PARTS, render_metrics
from penstock.runtime.pulse import Pulse

METRICS_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Check = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Probed:
    """What the probes look at. A service is ready while every `required` check holds (None: all of them), unless it
    `is_leaving`; it is alive while nothing in its `pulse` is stuck.
    """

    checks: Mapping[str, Check]
    required: Collection[str] | None = None
    pulse: Pulse = field(default_factory=Pulse)
    is_leaving: Callable[[], bool] = lambda: False


def add_probes(app: web.Application, probed: Probed) -> None:
    """Add `/healthz` (200, or 503 with what is `stuck`), `/readyz` (200 or 503; the answer names each check) and
    `/metrics`.
    """
    STUCK_PARTS.set_function(lambda: len(probed.pulse.find_stuck()))

    async def healthz(_: web.Request) -> web.Response:
        stuck = probed.pulse.check()
        body: dict[str, object] = {"status": "stuck", "stuck": stuck} if stuck else {"status": "ok"}
        return web.json_response(body, status=503 if stuck else 200)

    async def readyz(_: web.Request) -> web.Response:
        if probed.is_leaving():  # at once, whatever the servers do: nothing new is to be sent here
            return web.json_response({"status": "draining", "checks": {}}, status=503)
        checks = probed.checks
        states = dict(zip(checks, await asyncio.gather(*(check() for check in checks.values())), strict=True))
        is_ready = all(holds for name, holds in states.items() if probed.required is None or name in probed.required)
        body = {"status": "ready" if is_ready else "unavailable", "checks": states}
        return web.json_response(body, status=200 if is_ready else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=render_metrics(), headers={"Content-Type": METRICS_CONTENT_TYPE})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
