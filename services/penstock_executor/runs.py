"""A run as an executor holds it: the claim, the records of its steps, how an attempt ends, and what is committed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic import JsonValue

from penstock.broker.run_events import Happening
from penstock.definitions.values import format_date
from penstock.domain.callers import is_admin_user
from penstock.domain.runs import Admission, RunSummary
from penstock.domain.states import RunState
from penstock.runs.requests import CheckedRun
from penstock.runs.waits_and_signals import Wait
from penstock.store.logs import LogEvent, LogLine, Subject, error_line
from penstock.tracing import RunIdentity
from penstock_executor.effects import BulkEffect, Effect

Values = dict[str, JsonValue]
Written = JsonValue | BaseException
"""The result of a commit's effect, or why the commit was not written."""


@dataclass(slots=True)
class ClaimedRun:
    """A run that this executor holds a lease on, with all that it needs to perform it. Times are the database's.

    `finished` has, by path, the results of the steps that earlier attempts have finished; None in a first attempt.
    `is_deep`: it seems to be beyond the limit, in an environment that only observes depth, and nobody has noted it.
    `is_awaited`: the next item of its list, or another run, waits for its end. `is_limited`: it has places under the
    limits of its workflow.
    """

    id: UUID
    chain_id: UUID
    parent_run_id: UUID | None
    environment: str
    workflow: str
    depth: int
    depth_limit: int
    priority: int
    attempt: int
    failures: int
    version: int
    scheduled_at: datetime
    started_at: datetime
    claimed_at: datetime
    parameters: Values
    context: Values | None
    finished: Values | None
    is_deep: bool = False
    is_awaited: bool = False
    is_limited: bool = False

    @property
    def user_id(self) -> str | None:
        """The `_id` of the user for whom the run works, and who is the creator of what it makes; None without one."""
        user = None if self.context is None else self.context.get("user")
        id = user.get("_id") if isinstance(user, dict) else None
        return id if isinstance(id, str) else None

    @property
    def app_user_id(self) -> str | None:
        """The same, but None for an admin."""
        if self.context is None:
            return None
        id = self.user_id
        return None if id is None or is_admin_user(id) else id

    @property
    def trace(self) -> dict[str, str]:
        """What the request that began a run, or the chain it is in, said of trace and baggage."""
        trace = (self.context or {}).get("trace")
        return {name: str(value) for name, value in trace.items()} if isinstance(trace, dict) else {}

    @property
    def identity(self) -> RunIdentity:
        """What places it in its trace."""
        return RunIdentity(self.id, self.attempt, self.chain_id, self.parent_run_id, self.trace.get("traceparent"))

    def log_fields(self) -> dict[str, str]:
        """What lines of the process's log about this run have in common."""
        trace_id = f"{self.identity.trace_id:032x}"
        return {"run_id": str(self.id), "chain_id": str(self.chain_id), "trace_id": trace_id}

    @property
    def sees_everything(self) -> bool:
        """Whether privacy rules do not concern the run: an admin has started it, a change of things has, or nobody from
        outside: a recurrence of the app, or a service of the installation. A stranger's run has a user without an id.
        """
        context = self.context or {}
        if "change" in context:
            return True
        if context.get("user") is None:
            return "request" not in context and "webhook" not in context
        id = self.user_id
        return id is not None and is_admin_user(id)

    def summarize(self, state: RunState) -> RunSummary:
        """This run for an event or a message, as being in `state`."""
        return RunSummary(
            self.id,
            self.chain_id,
            self.parent_run_id,
            self.environment,
            self.workflow,
            state,
            self.depth,
            self.scheduled_at,
            self.attempt,
        )

    def happening(self, state: RunState, at: datetime, reason: str | None = None) -> Happening:
        """That this run came into `state`."""
        return Happening(
            self.id,
            self.chain_id,
            self.parent_run_id,
            self.environment,
            self.workflow,
            state,
            self.depth,
            self.attempt,
            at,
            reason,
        )

    def to_scope(self) -> Values:
        """What expressions see as `run`."""
        return {
            "id": str(self.id),
            "chain_id": str(self.chain_id),
            "depth": self.depth,
            "depth_limit": self.depth_limit,
            "attempt": self.attempt,
            "environment": self.environment,
            "workflow": self.workflow,
            "scheduled_at": format_date(self.scheduled_at),
            "started_at": format_date(self.started_at),
        }

    def line(
        self,
        level: str,
        event: LogEvent,
        message: str,
        at: datetime,
        *,
        step: str | None = None,
        details: JsonValue = None,
    ) -> LogLine:
        """A line of the app's log about this run."""
        return LogLine(
            at,
            self.environment,
            level,
            event,
            message,
            self.id,
            self.chain_id,
            self.workflow,
            step,
            self.depth,
            details,
            self.app_user_id,
        )

    def error_line(
        self, message: str, at: datetime, *, level: str = "error", step: str | None = None, details: JsonValue = None
    ) -> LogLine:
        """A *Workflow error* of this run."""
        of = Subject(self.environment, self.workflow, self.id, self.chain_id, step, self.depth, self.app_user_id)
        return error_line(of, message, details, at=at, level=level)


@dataclass(slots=True)
class StepRecord:
    """That a step was performed, or not. `outcome` is `succeeded`, `skipped`, `waiting` or `failed`.

    A failed one with a result was passed over (`on_error: continue`), and is finished like the others. `finished_at` is
    None when it finishes with the commit that writes it, `tries` when there was one. `child` is the run that the step
    has scheduled, where it is admitted with the record.
    """

    step: str
    action: str
    outcome: str
    started_at: datetime
    result: JsonValue = None
    error: JsonValue = None
    finished_at: datetime | None = None
    tries: list[JsonValue] | None = None
    child: CheckedRun | None = None


@dataclass(frozen=True, slots=True)
class FinishedStep:
    """A finished step beside its result: its kind, and its error if it failed and was passed over."""

    action: str
    error: JsonValue


@dataclass(slots=True)  # not frozen, which costs five times as much: each run or request makes some
class Ending:
    """How an attempt ends: `state` is final, `scheduled` (retried at `due_at`), `queued` (released) or `waiting`."""

    state: RunState
    result: JsonValue = None
    error: JsonValue = None
    due_at: datetime | None = None
    is_failure: bool = False
    wait: Wait | None = None


@dataclass(slots=True)
class Commit:
    """What one run writes in one transaction, guarded by its attempt. An `effect`'s record is `records[-1]`.

    `answer` is a result that a caller gets before the run has ended. `is_repeat` says that an earlier try of the same
    commit may have succeeded, unknown to us. `workload` are the units of an attempt that ends. `lane`: the run has kept
    its slot in this lane for one of its children. Once it is written, `admitted` tells what became of the children, and
    `claimed` is the one that was claimed. `is_limited`: the run has places under limits of its workflow.
    """

    run_id: UUID
    attempt: int
    environment: str
    records: list[StepRecord]
    effect: Effect | BulkEffect | None = None
    effect_record: StepRecord | None = None
    ending: Ending | None = None
    answer: JsonValue = None
    is_repeat: bool = False
    workload: float = 0.0
    has_children: bool = False
    lane: str | None = None
    admitted: Sequence[Admission] = ()
    claimed: ClaimedRun | None = None
    is_limited: bool = False

    @property
    def children(self) -> list[CheckedRun]:
        """The runs that its steps have scheduled, to be admitted with it."""
        return [record.child for record in self.records if record.child is not None]
