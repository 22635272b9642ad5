"""How bulk gives way while somebody waits for an answer.

*Why.* A batch of two hundred list items is cheap for each of them, but a call that comes in meanwhile waits for every
statement and every turn of the event loop that such batches take: on a machine whose processors are all busy, some ten
times 20 ms. Slots that are kept free for calls do not help against that.

*How.* From the moment a run is claimed for which a caller waits, and for some seconds after the last one, bulk is
claimed in small batches, one after the other, and performed and written in as small ones: of `grain` runs each. Its
slots are not fewer, so runs of bulk that wait for others themselves (a slow server, say) are hardly fewer either.
Without callers nothing of this happens.

*How small* is found by trying: the claim of an awaited run is a statement and a few turns of the loop, and nothing of
what the run itself does. When it takes longer than TARGET_SECONDS, the next batches of bulk are smaller, else larger.
Where the database needs longer by itself, as the fastest claims show, smaller batches would not help anybody: there
twice that time is the target.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Final

HOLD_SECONDS: Final = 5.0
"""How long bulk gives way after the last run for which somebody waits."""
TARGET_SECONDS: Final = 0.02
MIN_GRAIN: Final = 10
MAX_GRAIN: Final = 100
_FIRST_GRAIN: Final = 20
_DRIFT: Final = 1.01
"""By which the fastest claim counts for slower with each further one, since databases become slower, too."""
_NOBODY: Final = Context()


class Courtesy:
    """`narrow` is called with how many runs a batch of bulk may have, or with None when it may have any number."""

    def __init__(self, narrow: Callable[[int | None], None], *, hold_seconds: float = HOLD_SECONDS) -> None:
        self._narrow = narrow
        self._hold_seconds = hold_seconds
        self._is_narrow = False
        self._until = 0.0
        self._fastest = float("inf")
        self.grain = _FIRST_GRAIN

    def begin(self) -> None:
        """A run is about to be claimed for which somebody waits."""
        loop = asyncio.get_running_loop()
        self._until = loop.time() + self._hold_seconds
        if not self._is_narrow:
            self._is_narrow = True
            self._narrow(self.grain)
            loop.call_at(self._until, self._look, context=_NOBODY)

    def note(self, seconds: float) -> None:
        """The claim of such a run took `seconds`."""
        self._fastest = min(seconds, self._fastest * _DRIFT)
        before, self.grain = self.grain, next_grain(self.grain, seconds, fastest=self._fastest)
        if self._is_narrow and self.grain != before:
            self._narrow(self.grain)

    def _look(self) -> None:
        """See whether the last of those who waited came long ago."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._until:
            loop.call_at(self._until, self._look, context=_NOBODY)
        else:
            self._is_narrow = False
            self._narrow(None)


def next_grain(grain: int, seconds: float, *, fastest: float) -> int:
    """The size of the next batches, after a claim of `seconds`: a fifth less when that was too long, else a little
    more.
    """
    if seconds > max(TARGET_SECONDS, 2 * fastest):
        return max(MIN_GRAIN, grain * 4 // 5)
    return min(MAX_GRAIN, grain + 2)
