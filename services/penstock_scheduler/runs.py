"""What the room's files hand to each other: a run that is wanted, a refusal, a list's chunk, what a turn of a loop
did.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from pydantic import JsonValue

from penstock.domain.runs import Rejected
from penstock.domain.states import Trigger
from penstock.errors import DecodeError
from penstock.runs.admission import RunRequest
from penstock.runs.idempotency import IdempotencyKey
from penstock.runs.requests import prepare_run
from penstock.store.deployments import CompiledDeployment


class Refused(DecodeError):
    """A message that was understood, but asks for what cannot be: `rejection` says why."""

    def __init__(self, rejection: Rejected) -> None:
        super().__init__(rejection.message)
        self.rejection = rejection


@dataclass(frozen=True, slots=True)
class WantedRun:
    """A run as it is asked for, not yet checked against a deployment, so that it can be checked again when a newer one
    is current.
    """

    run_id: UUID
    environment: str
    workflow: str
    parameters: Mapping[str, JsonValue]
    trigger: Trigger
    parent_run_id: UUID | None = None
    claimed_depth: int = 0
    claimed_chain_id: UUID | None = None
    scheduled_at: datetime | timedelta | None = None
    priority: int | None = None
    context: dict[str, JsonValue] | None = None
    list_id: UUID | None = None
    key: IdempotencyKey | None = None

    def prepare(self, deployment: CompiledDeployment) -> RunRequest | Rejected:
        """The request that `admit` takes."""
        return prepare_run(
            deployment,
            run_id=self.run_id,
            environment=self.environment,
            workflow=self.workflow,
            parameters=self.parameters,
            trigger=self.trigger,
            parent_run_id=self.parent_run_id,
            claimed_depth=self.claimed_depth,
            claimed_chain_id=self.claimed_chain_id,
            scheduled_at=self.scheduled_at,
            priority=self.priority,
            context=self.context,
            list_id=self.list_id,
            key=self.key,
        )


@dataclass(frozen=True, slots=True)
class StoredList:
    """What all runs of a list have in common."""

    id: UUID
    environment: str
    workflow: str
    parent_run_id: UUID | None
    claimed_depth: int
    claimed_chain_id: UUID | None
    priority: int | None
    start_at: datetime
    interval_seconds: float

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
    """Where a sequential list stands: the item at `next_offset` of the chunk that begins with item `first_index` comes
    next.
    """

    list_id: UUID
    first_index: int
    next_offset: int

    @property
    def index(self) -> int:
        """The item that comes next."""
        return self.first_index + self.next_offset


@dataclass(frozen=True, slots=True)
class Notification:
    """Mail to be sent, already taken by this scheduler: no other will send it."""

    environment: str
    kind: str
    day: str
    attempts: int
    details: dict[str, JsonValue]
    addresses: tuple[str, ...]
    workflow: str | None
    depth: int | None
    depth_limit: int | None


@dataclass(frozen=True, slots=True)
class Counts:
    """What one turn of a loop did, by name. `wait_seconds` until the next turn; None: the loop's period."""

    done: Mapping[str, int] = field(default_factory=dict)
    wait_seconds: float | None = None
