"""What every room needs to know of a run to move it on, and what may become of a request for one."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from penstock.domain.states import RunState, Termination


class RunSummary(NamedTuple):
    """A stored run, without its payload. A tuple, because several are made of every run, and a frozen dataclass costs
    three times that.
    """

    id: UUID
    chain_id: UUID
    parent_run_id: UUID | None
    environment: str
    workflow: str
    state: RunState
    depth: int
    scheduled_at: datetime
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Admitted:
    """The run exists now. It is `queued` when due (the caller dispatches it), else `scheduled`.

    `has_warned_chain` says that this run brought its chain near the limit, the first of the chain to do so.
    """

    run: RunSummary
    depth_limit: int
    has_warned_chain: bool = False


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The same request was admitted before, as the run `of`; nothing was made."""

    of: UUID


@dataclass(frozen=True, slots=True)
class Terminated:
    """A protection stopped the run: it is stored as `terminated`, with its parameters, and will not be performed."""

    run: RunSummary
    reason: Termination
    depth_limit: int
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """Nothing was stored. `code` is one of `unknown_workflow`, `missing_parameter`, `invalid_parameter`,
    `unknown_parent`,
    `idempotency_conflict`; `message` says what to do.
    """

    code: str
    message: str
    parameter: str | None = None


Admission = Admitted | Duplicate | Terminated | Rejected
