"""Whether a process still does its work, for its liveness probe: not that it exists, but that nothing in it is stuck.

*Stuck* is a turn of a loop or a message that takes far longer than all its time limits together, a task that ended
although it should not, and a consumer that gets nothing for two minutes although messages wait and it has room for
them. An absence of PostgreSQL or RabbitMQ is none of these: waiting for them is bounded everywhere, turns and messages
fail and are begun again, and restarting a whole fleet would only make its return harder.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from penstock.broker.port import Broker, Delivery, Handler
from penstock.logs import Reports, get_logger

log = get_logger(__name__)
LOOK_SECONDS: Final = 10.0
MESSAGE_LIMIT_SECONDS: Final = 300.0
"""For one message. All that its handling waits for has limits, of some seconds each."""
MIN_TURN_LIMIT_SECONDS: Final = 300.0
_PERIODS_PER_TURN: Final = 6
CONSUMPTION_LIMIT_SECONDS: Final = 120.0
_REPORT_SECONDS: Final = 60.0


def turn_limit(period_seconds: float) -> float:
    """How long a turn of a loop with this period may take, in seconds: those that work rarely work long."""
    return max(MIN_TURN_LIMIT_SECONDS, _PERIODS_PER_TURN * period_seconds)


class Consumption:
    """Whether a consumer gets what waits for it. It is asked every few seconds, by `look`."""

    def __init__(self, prefetch: int) -> None:
        self._prefetch = prefetch
        self._waits_since: float | None = None
        self.received = 0
        self.under_way = 0
        self._received_before = 0

    def look(self, waiting: int | None, now: float) -> None:
        """`waiting` messages are in the queue (None: nobody knows), and not with any consumer."""
        is_fed = self.received != self._received_before or self.under_way >= self._prefetch
        self._received_before = self.received
        if not waiting or is_fed:
            self._waits_since = None
        elif self._waits_since is None:
            self._waits_since = now

    def is_stuck(self, now: float) -> bool:
        """Whether messages have waited for too long although there is room for them."""
        return self._waits_since is not None and now - self._waits_since > CONSUMPTION_LIMIT_SECONDS


class Pulse:
    """What a process does at this moment. `now` is in seconds, by any clock that does not jump."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._under_way: dict[object, tuple[str, float]] = {}
        self._tasks: dict[asyncio.Task[object], str] = {}
        self._consumers: dict[str, Consumption] = {}
        self._reports = Reports(log.error, "service.stuck", seconds=_REPORT_SECONDS)

    @contextmanager
    def within(self, what: str, limit_seconds: float) -> Iterator[None]:
        """The block is stuck if it takes longer than this."""
        mark = object()
        self._under_way[mark] = (what, self._now() + limit_seconds)
        try:
            yield
        finally:
            del self._under_way[mark]

    def expect(self, what: str, task: asyncio.Task[object]) -> None:
        """The task is to run until it is cancelled."""
        self._tasks[task] = what
        task.add_done_callback(self._note_end)

    def _note_end(self, task: asyncio.Task[object]) -> None:
        if task.cancelled():
            del self._tasks[task]

    def watch(self, queue: str, prefetch: int, handle: Handler) -> Handler:
        """`handle`, and what it is called with is watched."""
        consumption = self._consumers[queue] = Consumption(prefetch)

        async def watched(delivery: Delivery) -> None:
            consumption.received += 1
            consumption.under_way += 1
            try:
                with self.within(f"a message of {queue}", MESSAGE_LIMIT_SECONDS):
                    await handle(delivery)
            finally:
                consumption.under_way -= 1

        return watched

    async def look(self, broker: Broker) -> None:
        """Compare what waits in the queues with what was received."""
        for queue, consumption in list(self._consumers.items()):
            consumption.look(await broker.count_ready(queue), self._now())

    def forget(self, queue: str) -> None:
        """The consumer of this queue has been stopped."""
        self._consumers.pop(queue, None)

    def find_stuck(self) -> list[str]:
        """What is stuck, in words; empty for a process in good health."""
        now = self._now()
        stuck = [f"{what} takes too long" for what, until in self._under_way.values() if now > until]
        stuck += [f"{what} has ended" for task, what in self._tasks.items() if task.done()]
        stuck += [
            f"nothing is received from {queue}, where messages wait"
            for queue, consumption in self._consumers.items()
            if consumption.is_stuck(now)
        ]
        return stuck

    def check(self) -> list[str]:
        """As `find_stuck`; what is found is logged, now and then."""
        stuck = self.find_stuck()
        if stuck:
            self._reports.add(stuck=stuck)
        return stuck
