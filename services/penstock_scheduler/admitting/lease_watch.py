"""How far this scheduler has looked through the runs that were handed to executors for leases that have expired."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(slots=True, eq=False)
class LeaseWatch:
    """From which moment of dispatch on it looks next; None: from the first."""

    since: datetime | None = None
