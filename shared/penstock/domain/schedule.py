"""What is coming, and which part of it somebody means."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class Missed(StrEnum):
    """What becomes of what was due during a pause, when it is lifted."""

    QUEUE = "queue"
    """It runs."""
    DROP = "drop"
    """Runs that had not begun are cancelled, and ticks passed over."""


@dataclass(frozen=True, slots=True)
class ScheduleFilter:
    """Which part of what is coming in an environment; None does not matter. Due from `since` on and before `until`."""

    environment: str
    workflow: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    list_id: UUID | None = None
    chain_id: UUID | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing narrows it down."""
        return not any((self.workflow, self.since, self.until, self.list_id, self.chain_id))

    def describe(self) -> dict[str, str]:
        """What narrows it down, as people write it."""
        parts = {"workflow": self.workflow, "list": self.list_id, "chain": self.chain_id}
        times = {"since": self.since, "until": self.until}
        return {name: str(part) for name, part in parts.items() if part is not None} | {
            name: time.isoformat() for name, time in times.items() if time is not None
        }
