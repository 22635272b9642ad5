"""The three probes of a service's admin port."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
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
        return answer_health(probed.pulse.check())

    async def readyz(_: web.Request) -> web.Response:
        if probed.is_leaving():  # at once, whatever the servers do: nothing new is to be sent here
            return answer_draining()
        return answer_readiness(await read_checks(probed.checks), probed.required)

    async def metrics(_: web.Request) -> web.Response:
        return answer_metrics(render_metrics())

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)


async def read_checks(checks: Mapping[str, Check]) -> dict[str, bool]:
    """Whether each holds."""
    return dict(zip(checks, await asyncio.gather(*(check() for check in checks.values())), strict=True))


def answer_health(stuck: Sequence[str]) -> web.Response:
    """The answer of `/healthz`."""
    body: dict[str, object] = {"status": "stuck", "stuck": list(stuck)} if stuck else {"status": "ok"}
    return web.json_response(body, status=503 if stuck else 200)


def answer_draining() -> web.Response:
    """The answer of `/readyz` from the soft stop on."""
    return web.json_response({"status": "draining", "checks": {}}, status=503)


def answer_readiness(checks: Mapping[str, bool], required: Collection[str] | None = None) -> web.Response:
    """The answer of `/readyz`: the service is ready while all `required` checks hold (None: all of them)."""
    is_ready = all(holds for name, holds in checks.items() if required is None or name in required)
    body = {"status": "ready" if is_ready else "unavailable", "checks": dict(checks)}
    return web.json_response(body, status=200 if is_ready else 503)


def answer_metrics(rendered: bytes) -> web.Response:
    """The answer of `/metrics`."""
    return web.Response(body=rendered, headers={"Content-Type": METRICS_CONTENT_TYPE})
