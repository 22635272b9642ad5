"""How far this scheduler has swept through the scopes in which runs wait for their turn."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(slots=True, eq=False)
class TurnSweep:
    """The last scope that was looked at; None: the next sweep begins with the first."""

    after: UUID | None = None
