"""How a handler tells a loop that there is work sooner than it thinks."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from penstock import clock

_SOON: Final = timedelta(seconds=5)
"""Well beyond what a look finds before it is due, and the difference between this clock and the database's."""
_RESTS: Final = {
    "feed": 0.4, "sequential": 0.4, "redispatch": 1.9, "finish": 1.9, "followers": 1.9, "notices": 1.9,
    "email": 1.9, "webhook": 1.9, "slack": 1.9, "sweep": 4.9, "failing": 4.9,
}  # fmt: skip
"""For how many seconds a look does not wake a loop again. What is there may not be due, or in other hands. A little
less than a multiple of the time between two looks, which are not exact.
"""


@dataclass(slots=True, eq=False)
class Nudges:
    """One event per loop that can be woken; the timer clears it."""

    dispatch: asyncio.Event = field(default_factory=asyncio.Event)
    tick: asyncio.Event = field(default_factory=asyncio.Event)
    redispatch: asyncio.Event = field(default_factory=asyncio.Event)
    waits: asyncio.Event = field(default_factory=asyncio.Event)
    expand: asyncio.Event = field(default_factory=asyncio.Event)
    turns: asyncio.Event = field(default_factory=asyncio.Event)
    crowds: asyncio.Event = field(default_factory=asyncio.Event)
    ends: asyncio.Event = field(default_factory=asyncio.Event)
    sequential: asyncio.Event = field(default_factory=asyncio.Event)
    feed: asyncio.Event = field(default_factory=asyncio.Event)
    followers: asyncio.Event = field(default_factory=asyncio.Event)
    changes: asyncio.Event = field(default_factory=asyncio.Event)
    run_ends: asyncio.Event = field(default_factory=asyncio.Event)
    leases: asyncio.Event = field(default_factory=asyncio.Event)
    sweep: asyncio.Event = field(default_factory=asyncio.Event)
    failing: asyncio.Event = field(default_factory=asyncio.Event)
    finish: asyncio.Event = field(default_factory=asyncio.Event)
    pauses: asyncio.Event = field(default_factory=asyncio.Event)
    operations: asyncio.Event = field(default_factory=asyncio.Event)
    retried: asyncio.Event = field(default_factory=asyncio.Event)
    notices: asyncio.Event = field(default_factory=asyncio.Event)
    email: asyncio.Event = field(default_factory=asyncio.Event)
    webhook: asyncio.Event = field(default_factory=asyncio.Event)
    slack: asyncio.Event = field(default_factory=asyncio.Event)
    look: asyncio.Event = field(default_factory=asyncio.Event)
    """Somebody knows that there is something: a look finds out for which loop."""
    is_reconnected: bool = False
    _woken_at: dict[str, float] = field(default_factory=dict)

    def wake(self, names: Iterable[str]) -> None:
        """A look has found something for these loops: each is woken, unless that was done a moment ago."""
        now = time.monotonic()
        for name in names:
            if now - self._woken_at.get(name, float("-inf")) >= _RESTS.get(name, 0.0):
                self._woken_at[name] = now
                event: asyncio.Event = getattr(self, name)
                event.set()

    async def note_reconnect(self) -> None:
        """Messages may have been lost, and can be sent again."""
        self.is_reconnected = True
        self.redispatch.set()

    def take_reconnect(self) -> bool:
        """Whether that was noted since this was last asked."""
        was_reconnected, self.is_reconnected = self.is_reconnected, False
        return was_reconnected

    def expect(self, due_times: Iterable[datetime]) -> None:
        """Runs have been admitted that are due at these times, or wait for their turn already."""
        soon = clock.now() + _SOON
        if any(due_at <= soon for due_at in due_times):
            self.look_for_due()
            self.turns.set()

    def look_for_due(self) -> None:
        """Runs may be due, alone or in crowds."""
        self.dispatch.set()
        self.crowds.set()
