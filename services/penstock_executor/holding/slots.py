"""How many runs this executor performs at once: a run holds a slot from before its claim until its last step."""

import asyncio


class Slots:
    """`capacity` slots. Closing them makes everybody who waits go away with none."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._free = capacity
        self._changed = asyncio.Event()
        self.is_closed = False

    @property
    def taken(self) -> int:
        """How many are in use."""
        return self._capacity - self._free

    async def take(self, most: int, *, until: float) -> int:
        """Take at least one slot and at most `most`; 0 when none was free `until` that loop time, or they are closed.

        Never more than half of all at once: while one half's claim is on its way, the other half's runs are performed.
        """
        while not self._free or self.is_closed:
            if self.is_closed:
                return 0
            self._changed.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._changed.wait()
            except TimeoutError:
                return 0
        taken = min(most, self._free, max(1, self._capacity // 2))
        self._free -= taken
        return taken

    def give_back(self, count: int) -> None:
        """Free `count` slots."""
        self._free += count
        self._changed.set()

    def close(self) -> None:
        """Hand out no more."""
        self.is_closed = True
        self._changed.set()
