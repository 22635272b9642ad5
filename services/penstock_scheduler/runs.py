"""What the room's files hand to each other: a refusal, a list's chunk, what a turn of a loop did."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from pydantic import JsonValue

from penstock.domain.lineage import Lineage
from penstock.domain.notices import Channel
from penstock.domain.runs import Rejected
from penstock.errors import DecodeError, PenstockError


class Refused(DecodeError):
    """A message that was understood, but asks for what cannot be: `rejection` says why."""

    def __init__(self, rejection: Rejected) -> None:
        super().__init__(rejection.message)
        self.rejection = rejection


class Denied(PenstockError):
    """A question or request that was understood, and that the state of things answers with no. The sender hears why;
    it is nobody else's concern, so the message is done with.
    """

    def __init__(self, rejection: Rejected) -> None:
        super().__init__(rejection.message)
        self.rejection = rejection


@dataclass(frozen=True, slots=True)
class StoredList:
    """What all runs of a list have in common."""

    id: UUID
    environment: str
    workflow: str
    lineage: Lineage
    priority: int | None
    start_at: datetime
    interval_seconds: float
    is_sequential: bool = False

    def due_at(self, index: int) -> datetime:
        """When the run of item `index` is due."""
        return self.start_at + timedelta(seconds=index * self.interval_seconds)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive items of a list, the first of them item `first_index`: the parameters of one run each."""

    of: StoredList
    first_index: int
    parameters: list[dict[str, JsonValue]]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a sequential list stands: next is the item at `next_offset` of the chunk that begins with `first_index`."""

    list_id: UUID
    first_index: int
    next_offset: int

    @property
    def index(self) -> int:
        """The item that comes next."""
        return self.first_index + self.next_offset


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notification that is to be sent by one way, already taken by this scheduler: no other will send it."""

    id: UUID
    environment: str
    kind: str
    channel: Channel
    target: dict[str, JsonValue]
    content: dict[str, JsonValue]
    created_at: datetime
    attempts: int
