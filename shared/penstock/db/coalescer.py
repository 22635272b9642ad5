"""The one batching device: what is submitted while a flush is in flight leaves together with the next one.

A lone call leaves at once, so nothing is ever delayed by a timer, and batches grow exactly with load.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Coalescer(Generic[Item, Result]):
    """Turns single calls into batches. `flush` gets at most `most` items and returns, in their order, a result or an
    exception for each; when it raises, all items of that batch get the exception. At most `lanes` flushes are in
    flight.
    """

    def __init__(
        self,
        flush: Callable[[list[Item]], Awaitable[Sequence[Result | BaseException]]],
        *,
        lanes: int = 2,
        most: int = 500,
    ) -> None:
        self._flush = flush
        self._free_lanes = lanes
        self._most = most
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._flushes: set[asyncio.Task[None]] = set()
        self._is_woken = False

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """Put `item` into the next batch; the future carries its result. Cancelling the future does not withdraw the
        item.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, future))
        if self._free_lanes and not self._is_woken:
            self._is_woken = True
            # After the callbacks that are ready now: what they submit in this turn of the loop joins the batch.
            loop.call_soon(self._start_flushes)
        return future

    async def drain(self) -> None:
        """Wait until everything submitted so far has been flushed."""
        while self._waiting or self._flushes:
            self._start_flushes()
            await asyncio.gather(*self._flushes, return_exceptions=True)

    def _start_flushes(self) -> None:
        self._is_woken = False
        while self._free_lanes and self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            self._free_lanes -= 1
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._flushes.add(task)
            task.add_done_callback(self._flushes.discard)

    async def _run(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results: Sequence[Result | BaseException] = await self._flush([item for item, _ in batch])
            for (_, future), result in zip(batch, results, strict=True):
                _settle(future, result)
        except BaseException as error:
            for _, future in batch:
                _settle(future, error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._free_lanes += 1
            self._start_flushes()


def _settle(future: asyncio.Future[Result], result: Result | BaseException) -> None:
    if future.done():
        return
    if isinstance(result, asyncio.CancelledError):
        future.cancel()
    elif isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
