"""What is said of a delivery, and which deliveries somebody means."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final, Literal, get_args
from uuid import UUID

DeliveryVerdict = Literal["genuine", "unsigned"]
"""Whether the request has proved who sent it, or could not, because its source has no secret (`scheme: none`)."""
DeliveryOutcome = Literal["accepted", "unmatched"]
"""Whether it has started runs, or no workflow wanted it."""
OUTCOMES: Final[tuple[str, ...]] = get_args(DeliveryOutcome)


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries; None does not matter. Received from `since` on and before `until`."""

    environment: str | None = None
    source: str | None = None
    type: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    run_id: UUID | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing but the environment narrows it down."""
        return self == DeliveryFilter(self.environment)

    def describe(self) -> dict[str, str]:
        """What narrows it down, by the names that people write."""
        given = {**asdict(self), "run": self.run_id, "environment": None, "run_id": None}
        return {
            name: part.isoformat() if isinstance(part, datetime) else str(part)
            for name, part in given.items()
            if part is not None
        }
