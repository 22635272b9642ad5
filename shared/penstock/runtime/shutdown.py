"""A process's life: its signals, its grace period, and how it ends.

The first SIGTERM or SIGINT is a soft stop: `Stop.soft` is set, the service stops taking work and finishes what is in
flight within its grace period. A second signal, or the end of the grace period, is a hard stop: the service's task is
cancelled. Handlers know nothing of it.
"""

import asyncio
import gc
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Final, TypeVar

import uvloop

from penstock.logs import get_logger
from penstock.tracing import tracing

log = get_logger(__name__)
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
CLEANUP_SECONDS: Final = 8.0
"""How long a service that was cancelled may take to give back what it holds."""
T = TypeVar("T")
Life = Callable[["Stop"], Coroutine[object, object, None]]


class Stop:
    """How a process is asked to end. `soft` is set by the first signal and never cleared."""

    def __init__(self) -> None:
        self.soft = asyncio.Event()
        self.hard = asyncio.Event()
        self._began_at: float | None = None

    def request(self) -> None:
        """Ask once, insist twice."""
        if self.soft.is_set():
            self.hard.set()
        self.ask()

    def ask(self) -> None:
        """Soft, however often."""
        if self._began_at is None:
            self._began_at = time.monotonic()
        self.soft.set()

    def insist(self) -> None:
        """Hard, at once."""
        self.ask()
        self.hard.set()

    @property
    def seconds(self) -> float:
        """How long ago it was asked for; 0 while it was not."""
        return 0.0 if self._began_at is None else time.monotonic() - self._began_at


def run_process(
    name: str, serve: Life, *, grace_seconds: float, on_signal: Callable[[Stop], None] = Stop.request
) -> None:
    """Run `serve` on uvloop until it returns or the process is asked to stop; a main function is no more than this.
    `on_signal` is what each SIGTERM and SIGINT does.
    """
    # Requests and runs make many objects that die young and are in no cycle. Looking for cycles every 700 of them, and
    # through all that was imported each time, costs a sixth of an executor's time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    uvloop.run(_supervise(name, serve, grace_seconds, on_signal))


async def _supervise(name: str, serve: Life, grace_seconds: float, on_signal: Callable[[Stop], None]) -> None:
    stop = Stop()
    loop = asyncio.get_running_loop()
    for signal_number in _SIGNALS:
        loop.add_signal_handler(signal_number, on_signal, stop)
    log.info("service.started", service=name)
    # What is left of the grace period is for the last spans; after a hard stop there is none.
    async with tracing(name, lambda: 0.0 if stop.hard.is_set() else grace_seconds - stop.seconds):
        await supervise(serve, stop, grace_seconds=grace_seconds)
    log.info("service.stopped", service=name)


async def supervise(serve: Life, stop: Stop, *, grace_seconds: float) -> None:
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
            await asyncio.wait({service}, timeout=CLEANUP_SECONDS)
        if service.done() and not service.cancelled():
            service.result()
    finally:
        for task in (soft, hard, service):
            task.cancel()
        await asyncio.gather(soft, hard, return_exceptions=True)


async def unless_stopped(stop: Stop, work: Coroutine[object, object, T]) -> T | None:
    """What `work` returns; None when a soft stop is requested before, which cancels it."""
    task, soft = asyncio.create_task(work), asyncio.create_task(stop.soft.wait())
    try:
        await asyncio.wait({task, soft}, return_when=asyncio.FIRST_COMPLETED)
        return None if stop.soft.is_set() else task.result()
    finally:
        for one in (task, soft):
            one.cancel()
        await asyncio.gather(task, soft, return_exceptions=True)


async def pause(seconds: float, stop: Stop, wake: asyncio.Event | None = None) -> None:
    """Wait `seconds`, or until `wake` is set (which clears it) or a soft stop is requested."""
    if wake is None:  # without a task: some loops rest twenty times a second
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                await stop.soft.wait()
        return
    waits = [asyncio.create_task(stop.soft.wait()), asyncio.create_task(wake.wait())]
    try:
        await asyncio.wait(waits, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
        # Not `await task` with its CancelledError suppressed: ours, when it comes at this moment, would be suppressed
        # with it.
        await asyncio.wait(waits)
    wake.clear()
