"""What each door of Penstock does for the client, and how a door is found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

from pydantic import JsonValue

from penstock.client.retries import Deadline
from penstock.client.values import RunStatus, ScheduledRun, SignalOutcome


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run that is asked for, under a key that stays the same in all tries."""

    workflow: str
    key: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    at: datetime | None = None
    after: timedelta | None = None

    @property
    def is_for_now(self) -> bool:
        """Whether no time is given."""
        return self.at is None and self.after is None


@dataclass(frozen=True, slots=True)
class WantedSignal:
    """A signal that is to be sent, under a key that stays the same in all tries."""

    name: str
    key: str
    payload: object = None


class WantedEnd(NamedTuple):
    """What `schedule` steps have scheduled of a workflow under one of their keys, and is to be cancelled."""

    workflow: str
    key: str


class Port(Protocol):
    """A door of Penstock, for one environment. Each call raises Refused, Unavailable at its deadline, and Unsupported
    for what this door does not do.
    """

    async def run(self, wanted: Wanted, deadline: Deadline, /) -> JsonValue:
        """Start a run that is due now, and wait for what it returns. Raises RunFailed and NotEnded too."""

    async def schedule(self, wanted: Wanted, deadline: Deadline, /) -> ScheduledRun:
        """Start a run, now or later, and do not wait for its end."""

    async def status(self, run_id: UUID, deadline: Deadline, /) -> RunStatus:
        """The run as it is now."""

    async def cancel(self, run_id: UUID, deadline: Deadline, /) -> bool:
        """Cancel a run; False when it had ended before."""

    async def cancel_key(self, wanted: WantedEnd, deadline: Deadline, /) -> int:
        """Cancel what was scheduled under a key; how many runs were. One that is on its way is waited for where the
        door can tell, until the deadline; it is cancelled in any case.
        """

    async def signal(self, wanted: WantedSignal, deadline: Deadline, /) -> SignalOutcome:
        """Send a signal to the runs that wait for it."""


class Way(Protocol):
    """The way to a door, which is opened when it is first needed."""

    async def open(self, deadline: Deadline, /) -> Port:
        """The door. Raises Unavailable."""

    async def close(self) -> None:
        """Close all connections."""
