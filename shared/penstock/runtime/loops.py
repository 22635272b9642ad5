"""What a room does by itself, again and again. Each loop is a `run_once(room) -> Counts`; `repeat` is the timer of them
all.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from penstock.errors import DatabaseUnavailable
from penstock.logs import get_logger
from penstock.metrics import LOOP_SECONDS, LOOP_TURNS
from penstock.runtime.pulse import Pulse, turn_limit
from penstock.runtime.shutdown import Stop, pause

log = get_logger(__name__)
Room = TypeVar("Room")
_MIN_SECONDS_AFTER_FAILURE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Counts:
    """What one turn of a loop did, by name. `wait_seconds` until the next turn; None: the loop's period."""

    done: Mapping[str, int] = field(default_factory=dict)
    wait_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Loop(Generic[Room]):
    """A loop and how long it rests between two turns, in seconds, unless a turn says otherwise or `wake` is set.

    It ends with the soft stop; one that `is_upkeep` lasts until all that is in flight is finished.
    """

    name: str
    period_seconds: float
    run_once: Callable[[Room], Awaitable[Counts]]
    wake: asyncio.Event | None = None
    is_upkeep: bool = False


async def repeat(loop: Loop[Room], room: Room, stop: Stop, pulse: Pulse | None = None) -> None:
    """Take turns until a soft stop. A turn that fails is logged and taken again: after its period, but upkeep excepted
    a second later at the soonest, and a loop that can be woken a second later. `pulse` knows how long a turn takes.
    """
    while not stop.soft.is_set():
        rest = loop.period_seconds
        if loop.wake is not None:
            loop.wake.clear()  # before the turn: what is nudged during it is for the next one
        began = time.monotonic()
        try:
            with _watching(loop, pulse):
                counts = await loop.run_once(room)
        except Exception as error:  # a loop outlives every failure of one turn
            _count_turn(loop.name, "failed", began)
            is_expected = isinstance(error, DatabaseUnavailable)
            log.warning(
                "loop.failed",
                loop=loop.name,
                error=f"{type(error).__name__}: {error}",
                exc_info=None if is_expected else error,
            )
            await pause(_rest_after_failure(loop), stop)
            continue
        _count_turn(loop.name, "done", began)
        done = {name: count for name, count in counts.done.items() if count}
        if done:
            log.debug("loop.worked", loop=loop.name, **done)
        rest = rest if counts.wait_seconds is None else counts.wait_seconds
        if rest <= 0:
            await asyncio.sleep(0)
        elif loop.wake is None or not loop.wake.is_set():
            await pause(rest, stop, loop.wake)


def _rest_after_failure(loop: Loop[Room]) -> float:
    if loop.is_upkeep:
        return loop.period_seconds
    # What can be woken works whenever there is something to do; its period says little.
    return _MIN_SECONDS_AFTER_FAILURE if loop.wake is not None else max(loop.period_seconds, _MIN_SECONDS_AFTER_FAILURE)


def _watching(loop: Loop[Room], pulse: Pulse | None) -> AbstractContextManager[None]:
    return nullcontext() if pulse is None else pulse.within(f"the loop {loop.name}", turn_limit(loop.period_seconds))


def _count_turn(loop: str, outcome: str, began: float) -> None:
    LOOP_TURNS.labels(loop, outcome).inc()
    LOOP_SECONDS.labels(loop).inc(time.monotonic() - began)
