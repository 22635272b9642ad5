"""How far this scheduler has looked through the queued runs for those that a pause holds back."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(slots=True, eq=False)
class PauseWatch:
    """From which moment of dispatch on it has to look; None: through all of them."""

    since: datetime | None = None
    _in_force: frozenset[UUID] = frozenset()

    def note(self, in_force: frozenset[UUID]) -> None:
        """A pause that is new may hold back whatever is queued."""
        if in_force - self._in_force:
            self.since = None
        self._in_force = in_force

    def forget(self) -> None:
        """Nothing is paused."""
        self.since, self._in_force = None, frozenset()
