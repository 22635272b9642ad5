"""Where the deep pages of a list begin: `cursor` is a number, and to skip as many things again for each page would take
longer with each.

A list that is read page by page leaves, at each page beyond DEEP, the keyset token of the next one here. The page with
that `cursor` begins behind it; another one close behind skips the rest. It is kept in memory, for a while: an ingress
that does not know a position skips from the nearest that it knows, or from the first thing.

Up to DEEP, where Bubble's lists end, a position is counted from the first thing each time, as Bubble does.
"""

import time
from bisect import bisect_right
from collections import OrderedDict
from typing import Final, NamedTuple

DEEP: Final = 50_000
_MAX_LISTS: Final = 1_000
_MAX_OF_LIST: Final = 200
_KEPT_SECONDS: Final = 600.0
Key = tuple[object, ...]
"""What tells one list from another: what is searched, how it is sorted, and for whom."""


class Position(NamedTuple):
    """How many things come before a page, and the token behind which it begins."""

    before: int
    token: str


class Positions:
    """The positions that one ingress remembers."""

    def __init__(self) -> None:
        self._lists: OrderedDict[Key, tuple[float, list[Position]]] = OrderedDict()

    def find(self, key: Key, cursor: int) -> Position | None:
        """The last known position of a list that is not behind `cursor`; None for those that are not deep."""
        known = self._lists.get(key)
        if cursor < DEEP or known is None:
            return None
        if time.monotonic() - known[0] > _KEPT_SECONDS:
            self.forget(key)
            return None
        self._lists.move_to_end(key)
        index = bisect_right(known[1], cursor, key=lambda position: position.before)
        return known[1][index - 1] if index else None

    def note(self, key: Key, count: int, token: str | None) -> None:
        """Remember where the page behind the first `count` things begins."""
        if token is None or count < DEEP:
            return
        _, known = self._lists.get(key, (0.0, []))
        index = bisect_right(known, count, key=lambda position: position.before)
        if index and known[index - 1].before == count:
            known[index - 1] = Position(count, token)
        else:
            known.insert(index, Position(count, token))
        del known[: len(known) - _MAX_OF_LIST]
        self._lists[key] = (time.monotonic(), known)
        self._lists.move_to_end(key)
        while len(self._lists) > _MAX_LISTS:
            self._lists.popitem(last=False)

    def forget(self, key: Key) -> None:
        """Forget all positions of a list."""
        self._lists.pop(key, None)
