"""How many runs this executor performs at once: a run holds a slot from before its claim until its last step.

Who waits for slots is served by priority, then by lane (`interactive` first), then in order. An executor that serves
both lanes keeps a quarter of its slots free of bulk, so that a call finds one, and gives bulk a tenth of them however
many calls there are.
"""

import asyncio
from bisect import insort
from contextvars import Context
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from penstock.contracts.topology import BULK_LANE, DEFAULT_LANE

_LANES: Final = (DEFAULT_LANE, BULK_LANE)
_NOBODY: Final = Context()
_QUIET_SHARE: Final = 50


@dataclass(order=True, slots=True)
class _Waiter:
    place: tuple[int, int, int]
    lane: str = field(compare=False)
    most: int = field(compare=False)
    given: asyncio.Future[int] = field(compare=False)


class Slots:
    """`capacity` slots. Closing them makes everybody who waits go away with none. `is_shared` says that both lanes are
    served.
    """

    def __init__(self, capacity: int, *, is_shared: bool = False) -> None:
        self._capacity = capacity
        self._free = capacity
        self._taken = dict.fromkeys(_LANES, 0)
        self._for_calls = capacity // 4 if is_shared else 0
        self._for_bulk = capacity // 10 if is_shared else 0
        self._waiters: list[_Waiter] = []
        self._waiting_bulk = 0
        self._order = count()
        self._is_woken = False
        self.is_closed = False
        self.grain: int | None = None
        """How many slots bulk gets at once, at most; None: as many as others."""

    @property
    def taken(self) -> int:
        """How many are in use."""
        return self._capacity - self._free

    @property
    def is_quiet(self) -> bool:
        """Whether nobody waits, and few are in use."""
        return not self.is_closed and not self._waiters and self.taken <= max(1, self._capacity // _QUIET_SHARE)

    async def take(self, most: int, *, until: float, lane: str = DEFAULT_LANE, priority: int = 0) -> int:
        """Take at least one slot and at most `most`; 0 when none was free `until` that loop time, or they are closed.

        Never more than half of all at once: while one half's claim is on its way, the other half's runs are performed.
        """
        if self.is_closed:
            return 0
        if not self._waiters and self._room(lane) > 0:
            return self._give(lane, most)
        place = (priority, _LANES.index(lane), next(self._order))
        waiter = _Waiter(place, lane, most, asyncio.get_running_loop().create_future())
        insort(self._waiters, waiter)
        self._waiting_bulk += lane == BULK_LANE
        self._serve_soon()
        try:
            async with asyncio.timeout_at(until):
                return await asyncio.shield(waiter.given)
        except TimeoutError:
            return waiter.given.result() if waiter.given.done() else 0
        except asyncio.CancelledError:
            if waiter.given.done():
                self.give_back(waiter.given.result(), lane)
            raise
        finally:
            if not waiter.given.done():
                self._remove(waiter)
                waiter.given.cancel()

    def give_back(self, count: int, lane: str = DEFAULT_LANE) -> None:
        """Free `count` slots that were taken for a lane."""
        self._free += count
        self._taken[lane] -= count
        self._serve_soon()

    def close(self) -> None:
        """Hand out no more."""
        self.is_closed = True
        for waiter in self._waiters:
            waiter.given.set_result(0)
        self._waiters.clear()
        self._waiting_bulk = 0

    def _serve_soon(self) -> None:
        """Serve behind the callbacks that are ready now: slots that a batch gives back one by one are handed out
        together. Served one by one, each would be a claim of its own.
        """
        if self._waiters and not self._is_woken:
            self._is_woken = True
            asyncio.get_running_loop().call_soon(self._serve, context=_NOBODY)

    def _serve(self) -> None:
        self._is_woken = False
        for waiter in list(self._waiters):
            if not self._free:
                return
            if self._serve_one(waiter):
                self._remove(waiter)

    def _remove(self, waiter: _Waiter) -> None:
        self._waiters.remove(waiter)
        self._waiting_bulk -= waiter.lane == BULK_LANE

    def _serve_one(self, waiter: _Waiter) -> bool:
        if self._room(waiter.lane) <= 0:
            return False
        waiter.given.set_result(self._give(waiter.lane, waiter.most))
        return True

    def _room(self, lane: str) -> int:
        if lane == BULK_LANE:
            return min(self._free, self._capacity - self._for_calls - self._taken[BULK_LANE])
        return self._free - (max(0, self._for_bulk - self._taken[BULK_LANE]) if self._waiting_bulk else 0)

    def _give(self, lane: str, most: int) -> int:
        taken = min(most, self._room(lane), max(1, self._capacity // 2))
        if lane == BULK_LANE and self.grain is not None:
            taken = min(taken, self.grain)
        self._free -= taken
        self._taken[lane] += taken
        return taken
