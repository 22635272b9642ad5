"""How often a caller may come: a number of requests a minute, and of wrong tokens.

Counted by each process for itself, in memory that does not grow with the number of callers. The method is the generic
cell rate algorithm: of each key only one time is kept, at which all of its requests will have been worked off.
"""

import math
import time
from dataclasses import dataclass
from typing import Final

MINUTE: Final = 60.0
_MAX_KEYS: Final = 50_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left to a key. `wait_seconds` is how long it has to wait for its next request, `reset_seconds` until all
    of its minute is there again.
    """

    is_allowed: bool
    limit: int
    remaining: int
    wait_seconds: int
    reset_seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """As the IETF's draft on RateLimit fields has them."""
        return {
            "RateLimit-Policy": f'"default";q={self.limit};w={MINUTE:.0f}',
            "RateLimit": f'"default";r={self.remaining};t={self.reset_seconds}',
        }


class Rates:
    """At most `limit` requests per minute of each key; 0 stands for any number."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._busy_until: dict[str, float] = {}

    @property
    def is_bounded(self) -> bool:
        """Whether there is a limit at all."""
        return self._limit > 0

    def take(self, key: str, *, now: float | None = None) -> Allowance:
        """Count a request of this key, unless it is one too many. `now` in seconds of a monotonic clock."""
        now = time.monotonic() if now is None else now
        spent = self._spent(key, now)
        cost = MINUTE / self._limit
        if spent + cost > MINUTE + 1e-9:
            return self._describe(spent, cost, is_allowed=False)
        if key not in self._busy_until and len(self._busy_until) >= _MAX_KEYS:
            self._make_room(now)
        self._busy_until[key] = now + spent + cost
        return self._describe(spent + cost, cost, is_allowed=True)

    def is_exhausted(self, key: str, *, now: float | None = None) -> bool:
        """Whether another request of this key would be one too many."""
        now = time.monotonic() if now is None else now
        return self.is_bounded and self._spent(key, now) + MINUTE / self._limit > MINUTE + 1e-9

    def _spent(self, key: str, now: float) -> float:
        return max(self._busy_until.get(key, now) - now, 0.0)

    def _describe(self, spent: float, cost: float, *, is_allowed: bool) -> Allowance:
        remaining = int((MINUTE - spent) / cost + 1e-9)
        wait = 0 if remaining else math.ceil(spent + cost - MINUTE)
        return Allowance(is_allowed, self._limit, remaining, max(wait, 0 if is_allowed else 1), math.ceil(spent))

    def _make_room(self, now: float) -> None:
        """Forget those who have all of their minute again, and else those who came first."""
        self._busy_until = {key: until for key, until in self._busy_until.items() if until > now}
        for key in list(self._busy_until)[: max(len(self._busy_until) - _MAX_KEYS // 2, 0)]:
            del self._busy_until[key]
