"""Threads for an app's sync functions: few, and none that the process waits for.

A thread cannot be stopped. One whose run has ended without it, by its timeout or because it was lost, learns so when
it next asks for a step; until its function returns it keeps its place here.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar, copy_context
from typing import Final, TypeVar

T = TypeVar("T")
_HAS_THREAD: Final[ContextVar[bool]] = ContextVar("penstock_has_thread", default=False)
"""Set while a sync function waits for a step. A function called by that step needs no place of its own: otherwise
waiting functions could take all places.
"""


class Threads:
    """At most `most` functions at once; others wait for their turn."""

    def __init__(self, most: int) -> None:
        self._free = asyncio.Semaphore(most)

    async def call(self, function: Callable[[], T]) -> T:
        """What `function` returns or raises, called in a thread with the context variables of the caller."""
        takes_place = not _HAS_THREAD.get()
        if takes_place:
            await self._free.acquire()
        loop, context, outcome = asyncio.get_running_loop(), copy_context(), Future[T]()
        context.run(_HAS_THREAD.set, True)
        outcome.set_running_or_notify_cancel()  # from here on it is not cancelled: nobody could

        def work() -> None:
            try:
                outcome.set_result(context.run(function))
            except StopIteration as error:  # which no future can carry
                outcome.set_exception(RuntimeError(f"the function raised {error!r}"))
            except BaseException as error:  # whatever it is, it is the caller's
                outcome.set_exception(error)
            if takes_place:
                with suppress(RuntimeError):  # the loop is closed: the process ends
                    loop.call_soon_threadsafe(self._free.release)

        threading.Thread(target=work, name="penstock function", daemon=True).start()
        return await asyncio.wrap_future(outcome)
