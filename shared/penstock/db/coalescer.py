"""The one batching device: what is submitted while a flush is in flight leaves together with the next one.

A lone call leaves at once, and batches grow with load. One bad item does not fail its batch: what fails as a whole is
tried by halves (`isolate`), until the bad item stands alone.

A batch costs as much as many items, so where flushes may be in flight together, small ones would cost more than they
save. With `packs`, a further flush begins when at least two thirds as many items wait as are in flight, or after a
moment (PATIENCE_SECONDS), so that one that is stuck does not hold back the others.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Final, Generic, TypeVar

from penstock.db.failures import find_trouble
from penstock.errors import BrokerUnavailable, DatabaseUnavailable, Interrupted, StaleDefinitions
from penstock.metrics import BATCH_ITEMS, BATCH_SECONDS

Item = TypeVar("Item")
Result = TypeVar("Result")
PATIENCE_SECONDS: Final = 0.02
_PACKED: Final = 2 / 3
_NOBODY: Final = Context()
_ABOUT_ALL: Final = (DatabaseUnavailable, BrokerUnavailable, Interrupted, StaleDefinitions)
"""No half of a batch that fails so would fare better."""


async def isolate(
    items: Sequence[Item], work: Callable[[list[Item]], Awaitable[Sequence[Result | BaseException]]]
) -> list[Result | BaseException]:
    """What `work` returns for the items, in their order, with an exception in place of each item that fails.

    `work` has to return one result, or an exception, for each item. When it raises, having done nothing, both halves of
    its items are tried by themselves, the first half first. An absence of the database or the broker is not looked
    into: all items of that half get it.
    """
    whole = list(items)
    try:
        return list(await work(whole))
    except Exception as error:
        if len(whole) < 2 or isinstance(error, _ABOUT_ALL) or find_trouble(error) is not None:
            return [error] * len(whole)
    middle = len(whole) // 2
    return await isolate(whole[:middle], work) + await isolate(whole[middle:], work)


class Coalescer(Generic[Item, Result]):
    """Turns single calls into batches. `flush` gets at most `most` items and returns, in their order, a result or an
    exception for each; when it raises, having done nothing, it is called again for each half (see `isolate`). At most
    `lanes` flushes are in flight; `packs`: further ones only with many items. The metrics show the batches under
    `name`.
    """

    def __init__(
        self,
        flush: Callable[[list[Item]], Awaitable[Sequence[Result | BaseException]]],
        *,
        name: str,
        lanes: int = 2,
        most: int = 500,
        packs: bool = False,
    ) -> None:
        self._flush = flush
        self._items, self._seconds = BATCH_ITEMS.labels(name), BATCH_SECONDS.labels(name)
        self._lanes = lanes
        self._flying = 0
        self._most = most
        self._weigh: Callable[[Item], int] | None = None
        self._packs = packs
        self._in_flight = 0
        self._impatience: asyncio.TimerHandle | None = None
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._flushes: set[asyncio.Task[None]] = set()
        self._is_woken = False

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """Put `item` into the next batch; the future gets its result. Cancelling the future does not withdraw it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, future))
        if self._flying < self._lanes and not self._is_woken:
            self._wake()
        return future

    def adjust(self, *, lanes: int, most: int, weigh: Callable[[Item], int] | None = None) -> None:
        """Have other numbers of flushes, and of items in each, from now on; with `weigh`, `most` is what the items of a
        flush may weigh together. One item that weighs more is flushed alone.
        """
        self._lanes, self._most, self._weigh = lanes, most, weigh
        if self._waiting and not self._is_woken:
            self._wake()

    def _wake(self) -> None:
        self._is_woken = True
        # After the callbacks that are ready now: what they submit in this turn of the loop joins the batch. A batch is
        # nobody's: it does not inherit the run, or the span, of the one who happened to begin it.
        asyncio.get_running_loop().call_soon(self._start_flushes, context=_NOBODY)

    async def drain(self) -> None:
        """Wait until everything submitted so far has been flushed."""
        while self._waiting or self._flushes:
            self._start_flushes(is_patient=False)
            await asyncio.gather(*self._flushes, return_exceptions=True)

    def _start_flushes(self, *, is_patient: bool = True) -> None:
        self._is_woken = False
        while self._flying < self._lanes and self._waiting:
            if is_patient and self._packs and len(self._waiting) < self._in_flight * _PACKED:
                if self._impatience is None:
                    loop = asyncio.get_running_loop()
                    self._impatience = loop.call_later(PATIENCE_SECONDS, self._lose_patience, context=_NOBODY)
                return
            if self._impatience is not None:
                self._impatience.cancel()
                self._impatience = None
            count = self._most if self._weigh is None else self._count_light(self._weigh)
            batch, self._waiting = self._waiting[:count], self._waiting[count:]
            self._flying += 1
            self._in_flight += len(batch)
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._flushes.add(task)
            task.add_done_callback(self._flushes.discard)

    def _count_light(self, weigh: Callable[[Item], int]) -> int:
        """How many of those that wait make up a flush that is not too heavy."""
        weight = 0
        for count, (item, _) in enumerate(self._waiting):
            weight += weigh(item)
            if weight > self._most and count:
                return count
        return len(self._waiting)

    def _lose_patience(self) -> None:
        self._impatience = None
        self._start_flushes(is_patient=False)

    async def _run(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        began = time.perf_counter()
        try:
            results = await isolate([item for item, _ in batch], self._flush)
            for (_, future), result in zip(batch, results, strict=True):
                _settle(future, result)
        except BaseException as error:
            for _, future in batch:
                _settle(future, error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._flying -= 1
            self._in_flight -= len(batch)
            self._start_flushes()
            self._items.observe(len(batch))
            self._seconds.observe(time.perf_counter() - began)


def _settle(future: asyncio.Future[Result], result: Result | BaseException) -> None:
    if future.done():
        return
    if isinstance(result, asyncio.CancelledError):
        future.cancel()
    elif isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
