"""A process's life: its signals, its grace period, and how it ends.

The first SIGTERM or SIGINT is a soft stop: `Stop.soft` is set, the service stops taking work and finishes what is in
flight within its grace period. A second signal, or the end of the grace period, is a hard stop: the service's task is
cancelled. Handlers know nothing of it.

`LAST_SECONDS` after its grace period a service is gone, whatever happens: what cannot be cancelled (a thread of the app
that never returns, a task that catches its cancellation) ends with the process. Runs that it still held come back when
their leases expire.
"""

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

import uvloop

from penstock.logs import get_logger
from penstock.tracing import tracing

log = get_logger(__name__)
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
CLEANUP_SECONDS: Final = 8.0
"""How long a service that was cancelled may take to give back what it holds."""
LAST_SECONDS: Final = 9.0
"""After the grace period: the cleanup, and a moment. Less than the ten seconds that deployments allow for it."""
_REPORT_SECONDS: Final = 0.5
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


def bounded(name: str, grace_seconds: float, last_seconds: float = LAST_SECONDS) -> Callable[[Stop], None]:
    """As `Stop.request`, for `on_signal`; and the process is cut off `last_seconds` after its grace period, or after a
    second signal, with the exit code 1 and a line in the log.
    """

    def ask(stop: Stop) -> None:
        if stop.hard.is_set():
            return
        stop.request()
        left = last_seconds if stop.hard.is_set() else grace_seconds + last_seconds
        # A thread, since the loop may be what hangs; it lives on while the interpreter waits for others at its end.
        timer = threading.Timer(left, _cut_off, (name,))
        timer.daemon = True
        timer.start()

    return ask


def _cut_off(name: str) -> None:
    """End the process where it is, and say what it was at."""
    places = [
        f"{thread.name}: {frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"
        for thread in threading.enumerate()
        if thread is not threading.current_thread()
        and (frame := sys._current_frames().get(thread.ident or 0)) is not None
    ]
    # Nobody may read the log any more, and then writing to it never ends. At its very end, the interpreter starts no
    # threads.
    report = threading.Thread(target=partial(log.error, "service.cut_off", service=name, at=places), daemon=True)
    with suppress(RuntimeError):
        report.start()
        report.join(_REPORT_SECONDS)
    os._exit(1)


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
