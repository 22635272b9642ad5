"""What this scheduler knows of the crowds: where its look at them stopped, and how many runs may be queued ahead."""

import time
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from penstock_scheduler.rules import MIN_AHEAD, ahead_after

_MEASURED_FOR_SECONDS: Final = 1.0


@dataclass(slots=True, eq=False)
class CrowdWatch:
    """`after` is the last crowd that was looked at; None: the next look begins with the first. `ahead` is how many runs
    of all crowds may be queued, `running` how many runs executors perform.
    """

    after: UUID | None = None
    ahead: int = MIN_AHEAD
    running: int = 0
    _given: int = 0
    _measured_at: float = float("-inf")

    @property
    def is_old(self) -> bool:
        """Whether `running` has to be measured again."""
        return time.monotonic() - self._measured_at > _MEASURED_FOR_SECONDS

    def note(self, running: int) -> None:
        """So many runs are performed now."""
        self.running, self._measured_at = running, time.monotonic()

    def adapt(self, *, given: int, taken: int) -> None:
        """There was room for `given` runs in a turn, and `taken` were missing from them."""
        used = taken - (given - self._given)
        self.ahead, self._given = ahead_after(self.ahead, used=used, running=self.running), given
