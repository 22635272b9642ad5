"""What every room needs to know of a run to move it on, and what may become of a request for one."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from penstock.domain.cycles import Cycle
from penstock.domain.states import RunState, Termination


class RunSummary(NamedTuple):
    """A stored run without its payload. A tuple: several are made per run, and a frozen dataclass costs three times
    that.
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
    priority: int = 5
    is_bulk: bool = False


class ChainWarning(NamedTuple):
    """A chain has come near a limit, of depth, runs or workload (`limit_kind`); `cycle` repeats in its path."""

    limit_kind: str
    reached: float
    limit: float
    cycle: Cycle | None = None

    def describe(self) -> str:
        """`the chain has reached depth 8 of at most 10`."""
        unit = {"depth": "depth {:,.0f}", "runs": "{:,.0f} runs", "workload": "{:,.0f} workload units"}[self.limit_kind]
        reached = f"the chain has reached {unit.format(self.reached)} of at most {self.limit:,.0f}"
        return reached if self.cycle is None else f"{reached}, in the cycle {self.cycle.describe()}"


@dataclass(slots=True)  # not frozen, which costs five times as much: each run or request makes some
class Admitted:
    """The run exists now. It is `queued` when due (the caller dispatches it), else `scheduled`.

    `warnings` are the limits that this run brought its chain near to, the first of the chain to do so. `observed` is
    why it would have been terminated, in an environment that only observes.
    """

    run: RunSummary
    depth_limit: int
    warnings: tuple[ChainWarning, ...] = ()
    observed: Termination | None = None

    @property
    def has_warned_chain(self) -> bool:
        """Whether its chain came near a limit with it."""
        return bool(self.warnings)


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
    """Nothing was stored; `message` says what to do.

    `code` is `unknown_workflow`, `missing_parameter`, `invalid_parameter`, `unsealed_password`, `unknown_parent` or
    `idempotency_conflict`.
    """

    code: str
    message: str
    parameter: str | None = None


Admission = Admitted | Duplicate | Terminated | Rejected
