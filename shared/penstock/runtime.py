"""A process's life, written once: signals, the order of stopping, and the admin port's three probes.

The first SIGTERM or SIGINT is a soft stop: `Stop.soft` is set, the service stops taking work and finishes what is in
flight within its grace period. A second signal, or the end of the grace period, is a hard stop: the service's task is
cancelled. Handlers know nothing of it.
"""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import uvloop
from aiohttp import web

from penstock.broker.port import Broker
from penstock.broker.rabbitmq import connect as connect_broker
from penstock.contracts.topology import topology
from penstock.db import Database, open_database
from penstock.db.migrations import find_pending
from penstock.errors import ConfigurationError
from penstock.logs import get_logger
from penstock.metrics import render_metrics
from penstock.settings import CommonSettings

log = get_logger(__name__)
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_CLEANUP_SECONDS: Final = 8.0
METRICS_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Check = Callable[[], Awaitable[bool]]


class Stop:
    """How a process is told to end. `soft` is set by the first signal and never cleared."""

    def __init__(self) -> None:
        self.soft = asyncio.Event()
        self.hard = asyncio.Event()

    def request(self) -> None:
        """Ask once, insist twice."""
        if self.soft.is_set():
            self.hard.set()
        self.soft.set()


@dataclass(frozen=True, slots=True)
class Resources:
    """What a service works with. In embedded mode the three services share one set; else each opens its own."""

    database: Database
    broker: Broker


@asynccontextmanager
async def open_resources(settings: CommonSettings, name: str) -> AsyncIterator[Resources]:
    """The database and the broker of one service process; closed in the order that loses nothing: broker, then pool.

    Raises ConfigurationError when the database lacks a migration of this release, which it would otherwise run into
    again and again.
    """
    database = await open_database(settings.database_url, name=f"penstock {name}", most=settings.database_connections)
    try:
        await _check_migrated(database)
        broker = await connect_broker(settings.amqp_url, topology=topology(), name=f"penstock {name}")
        try:
            yield Resources(database, broker)
        finally:
            await broker.close()
    finally:
        await database.close()


async def _check_migrated(database: Database) -> None:
    pending = await find_pending(database)
    if pending:
        names = ", ".join(migration.name for migration in pending)
        raise ConfigurationError(
            f"the database is not up to date, it lacks {names}; run `penstock migrate`, then start this again"
        )


Serve = Callable[[Stop], Coroutine[object, object, None]]


def run_process(name: str, serve: Serve, *, grace_seconds: float) -> None:
    """Run `serve` on uvloop until it returns or the process is told to stop; the whole of a service's main function."""
    # Requests and runs make many objects that die young and are in no cycle. Looking for cycles every 700 of them, and
    # through all that was imported each time, costs a sixth of an executor's time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    uvloop.run(_supervise(name, serve, grace_seconds))


async def _supervise(name: str, serve: Serve, grace_seconds: float) -> None:
    stop = Stop()
    loop = asyncio.get_running_loop()
    for signal_number in _SIGNALS:
        loop.add_signal_handler(signal_number, stop.request)
    log.info("service.started", service=name)
    await supervise(serve, stop, grace_seconds=grace_seconds)
    log.info("service.stopped", service=name)


async def supervise(serve: Serve, stop: Stop, *, grace_seconds: float) -> None:
    """Run `serve(stop)`; after a soft stop give it `grace_seconds`, then cancel it. Its exception, if any, is raised
    here.
    """
    service = asyncio.create_task(serve(stop))
    soft = asyncio.create_task(stop.soft.wait())
    hard = asyncio.create_task(stop.hard.wait())
    try:
        await asyncio.wait({service, soft}, return_when=asyncio.FIRST_COMPLETED)
        if not service.done():
            await asyncio.wait({service, hard}, timeout=grace_seconds, return_when=asyncio.FIRST_COMPLETED)
        if not service.done():
            service.cancel()
            await asyncio.wait({service}, timeout=_CLEANUP_SECONDS)
        if service.done() and not service.cancelled():
            service.result()
    finally:
        for task in (soft, hard, service):
            task.cancel()
        await asyncio.gather(soft, hard, return_exceptions=True)


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


async def run_every(
    period_seconds: float, work: Callable[[], Awaitable[object]], stop: Stop, wake: asyncio.Event | None = None
) -> None:
    """Call `work` every `period_seconds`, sooner when `wake` is set, until a soft stop; a failure is logged and tried
    again.
    """
    while not stop.soft.is_set():
        try:
            await work()
        except Exception as error:  # a loop outlives every failure of one turn
            log.warning(
                "loop.failed", loop=getattr(work, "__qualname__", str(work)), error=f"{type(error).__name__}: {error}"
            )
        await pause(period_seconds, stop, wake)


async def pause(seconds: float, stop: Stop, wake: asyncio.Event | None = None) -> None:
    """Wait `seconds`, or until `wake` is set (which clears it) or a soft stop is requested."""
    waits = [asyncio.create_task(stop.soft.wait())]
    if wake is not None:
        waits.append(asyncio.create_task(wake.wait()))
    try:
        await asyncio.wait(waits, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
        # Not `await task` with its CancelledError suppressed: ours, when it comes at this moment, would be suppressed
        # with it.
        await asyncio.wait(waits)
    if wake is not None:
        wake.clear()
