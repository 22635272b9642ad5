"""One connection that heals itself.

A link dials until it gets through, then *tends* what hangs on the connection: makes everything be as it should be,
again every few seconds, and at once when nudged. Tending is what the start, a reconnect, a channel closed by the
broker, a consumer it cancelled and a queue somebody deleted have in common, so there is no second path for any of them.
When tending fails or hangs, the connection is cut off and a new one is dialled.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Final

from yarl import URL

from penstock.broker.driver import Connection, Wire, is_blocked, open_wire, within
from penstock.logs import get_logger
from penstock.metrics import BROKER_LOSSES, BROKER_UP

log = get_logger(__name__)

TEND_EVERY_SECONDS: Final = 3.0
TEND_LIMIT_SECONDS: Final = 10.0
_FIRST_BACKOFF_SECONDS: Final = 0.1
_MAX_BACKOFF_SECONDS: Final = 3.0

Tend = Callable[[Connection], Coroutine[object, object, None]]


class Link:
    """Keeps one connection to `url`. `tend` runs before it counts as up; `on_change` when it goes up or down."""

    def __init__(self, url: URL, *, purpose: str, tend: Tend, on_change: Callable[[], None]) -> None:
        self._url = url
        self._purpose = purpose
        self._tend = tend
        self._on_change = on_change
        self._nudged = asyncio.Event()
        self._wire: Wire | None = None
        self._task: asyncio.Task[None] | None = None
        self.is_up = False
        BROKER_UP.labels(purpose).set(0)

    @property
    def connection(self) -> Connection | None:
        """The connection, while it is up."""
        return self._wire.driver if self._wire is not None and self.is_up else None

    def start(self) -> None:
        """Begin to dial, in the background."""
        self._task = asyncio.create_task(self._keep(), name=f"penstock broker {self._purpose}")

    def nudge(self) -> None:
        """Tend now: something is not as it should be."""
        self._nudged.set()

    async def close(self) -> None:
        """Dial no more, and disconnect within a moment."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _keep(self) -> None:
        failures = 0
        while True:
            try:
                self._wire = await open_wire(self._url)
                await self._serve(self._wire)
            except Exception as error:  # a link outlives every failure
                failures = self._report(error, failures)
            finally:
                await self._drop()
            await asyncio.sleep(backoff_seconds(failures, random.random()))

    def _report(self, error: Exception, failures: int) -> int:
        """Log the failure, ever more rarely while nothing changes; returns how many there were in a row."""
        failures = 0 if self.is_up else failures + 1
        if failures & (failures - 1) == 0:
            event = "broker.lost" if self.is_up else "broker.unreachable"
            log.warning(event, connection=self._purpose, error=f"{type(error).__name__}: {error}", failures=failures)
        return failures

    async def _serve(self, wire: Wire) -> None:
        """Tend the connection until it is lost, which raises."""
        lost = wire.driver.closing
        lost.add_done_callback(lambda _: self.nudge())
        while not lost.done():
            self._nudged.clear()
            is_usable = not await is_blocked(wire.driver)
            if is_usable:
                await within(TEND_LIMIT_SECONDS, self._tend(wire.driver))
            elif self.is_up:
                log.warning(
                    "broker.blocked",
                    connection=self._purpose,
                    advice="RabbitMQ is out of memory or disk and takes no messages",
                )
            self._set_up(is_usable)
            await self._rest()
        raise ConnectionError("RabbitMQ closed the connection")

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(TEND_EVERY_SECONDS):
                await self._nudged.wait()
        except TimeoutError:
            return

    async def _drop(self) -> None:
        self._set_up(False)
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    def _set_up(self, is_up: bool) -> None:
        if is_up != self.is_up:
            self.is_up = is_up
            BROKER_UP.labels(self._purpose).set(is_up)
            if is_up:
                log.info("broker.connected", connection=self._purpose)
            else:
                BROKER_LOSSES.labels(self._purpose).inc()
            self._on_change()


def backoff_seconds(failures: int, jitter: float) -> float:
    """How long to wait before dialling again after `failures` attempts in a row; `jitter` is in [0, 1)."""
    longest = min(_FIRST_BACKOFF_SECONDS * 2.0 ** min(failures, 10), _MAX_BACKOFF_SECONDS)
    return longest * (0.5 + jitter / 2)
