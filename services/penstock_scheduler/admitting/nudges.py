"""How a handler tells a loop that there is work sooner than it thinks."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from penstock import clock

_SOON: Final = timedelta(seconds=5)
"""Well beyond the longest rest of the dispatching loop and the difference between this clock and the database's."""


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
    is_reconnected: bool = False

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
