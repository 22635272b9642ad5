"""What the scheduler does by itself, again and again. Each loop is a `run_once(room) -> Counts`; `repeat` is the timer
of them all.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from penstock.errors import DatabaseUnavailable
from penstock.logs import get_logger
from penstock.runtime import Stop, pause
from penstock_scheduler.room import Room
from penstock_scheduler.runs import Counts

log = get_logger(__name__)

_LEAST_AFTER_FAILURE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop and how long it rests between two turns, in seconds, unless a turn says otherwise or `wake` is set."""

    name: str
    period_seconds: float
    run_once: Callable[[Room], Awaitable[Counts]]
    wake: asyncio.Event | None = None


async def repeat(loop: Loop, room: Room, stop: Stop) -> None:
    """Take turns until a soft stop. A turn that fails is logged and taken again, a second later at the soonest."""
    while not stop.soft.is_set():
        rest = loop.period_seconds
        if loop.wake is not None:
            loop.wake.clear()  # before the turn: what is nudged during it is for the next one
        try:
            counts = await loop.run_once(room)
        except Exception as error:  # a loop outlives every failure of one turn
            is_expected = isinstance(error, DatabaseUnavailable)
            log.warning(
                "loop.failed",
                loop=loop.name,
                error=f"{type(error).__name__}: {error}",
                exc_info=None if is_expected else error,
            )
            await pause(max(rest, _LEAST_AFTER_FAILURE_SECONDS), stop)
            continue
        done = {name: count for name, count in counts.done.items() if count}
        if done:
            log.debug("loop.worked", loop=loop.name, **done)
        rest = rest if counts.wait_seconds is None else counts.wait_seconds
        if rest <= 0:
            await asyncio.sleep(0)
        elif loop.wake is None or not loop.wake.is_set():
            await pause(rest, stop, loop.wake)
