"""What is shown of runs, steps, chains and the log. The management API's description is generated from these models."""

from datetime import datetime
from typing import Annotated, Literal, Self, get_args
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, SkipValidation

from penstock import exact_json
from penstock.domain.deliveries import DeliveryOutcome, DeliveryVerdict
from penstock.domain.states import RunState
from penstock.redaction import Redactor

WaitReason = Literal[
    "due", "time", "signal", "runs", "concurrency", "rate", "sequence", "debounce", "retry", "paused", "executor"
]
_WAIT_REASONS = get_args(WaitReason)
Stored = Annotated[JsonValue, SkipValidation]
"""A value as it is stored. To validate it would take digits from its numbers."""
_WRITTEN_BY_OTHERS = ("parameters", "inputs", "result", "error", "webhook", "headers", "body")
_PAYLOADS = frozenset(
    {*_WRITTEN_BY_OTHERS, "message", "details", "match", "payload", "signal", "key", "contains", "reason", "user_email"}
)
"""What shows, wherever it stands, values that are not ours."""


class Shown(BaseModel):
    """What is sent by us."""

    model_config = ConfigDict(frozen=True)

    def encoded(self) -> bytes:
        """As JSON, all digits of its numbers included; times in UTC end in Z."""
        return _encoded(self.model_dump())

    def encoded_without_payloads(self) -> bytes:
        """The same for somebody who may not see what callers and authors have written: null in its place."""
        return _encoded(_without_payloads(self.model_dump()))


def _encoded(document: object) -> bytes:
    return exact_json.dumps(document, option=orjson.OPT_UTC_Z, default=str)  # the driver has its own UUID


def _without_payload(name: str, value: object) -> object:
    is_ours = name not in _PAYLOADS or (name == "reason" and value in _WAIT_REASONS)
    return _without_payloads(value) if is_ours else None


def _without_payloads(document: object) -> object:
    if isinstance(document, dict):
        return {name: _without_payload(name, value) for name, value in document.items()}
    if isinstance(document, list | tuple):
        return [_without_payloads(item) for item in document]
    return document


class WithPayloads(Shown):
    """What shows values that authors and callers have written."""

    def without_secrets(self, redactor: Redactor) -> Self:
        """The same as it may be printed: what a caller sent is stored as it came."""
        names = [name for name in _WRITTEN_BY_OTHERS if name in type(self).model_fields]
        return self.model_copy(update={name: redactor.value(getattr(self, name)) for name in names})


class WaitingFor(Shown):
    """Why a run that has not ended is not being performed at this moment."""

    reason: WaitReason = Field(
        description="`due`: its time has not come; `time`, `signal`, `runs`: a step waits; `retry`: the run, or one "
        "of its steps, failed and is tried again later; `paused`: it is due, and a pause of the schedule holds it; "
        "`concurrency`, `rate`, `sequence`: it is due, and its workflow's limits hold it; `debounce`: another of "
        "its key may replace it until its time has come; "
        "`executor`: it is due and nobody has taken it yet"
    )
    key: str | None = Field(
        description="Which signal, which pause, which key of the flow control, or which chain or list is so large that "
        "its runs take turns with those of others"
    )
    holder: UUID | None = Field(description="The run that it waits for, or one of them")
    since: datetime | None


class TickOf(Shown):
    """The tick that a run was started by."""

    id: UUID = Field(description="The recurrence")
    tick_at: datetime = Field(description="The time by its rule, whenever the run was started")


class Run(WithPayloads):
    """A run."""

    id: UUID
    workflow: str
    environment: str
    state: RunState
    depth: int
    depth_budget: int | None = Field(
        description="The greatest depth at which it may be performed; of a run that the depth limit has cut, the limit "
        "that did"
    )
    chain_id: UUID
    parent_run_id: UUID | None
    attempt: int = Field(description="How many times it was begun")
    parameters: Annotated[dict[str, JsonValue], SkipValidation]
    result: Stored = None
    error: Stored = None
    workload: float = Field(
        description="Workload units of its attempts that have ended; attempts whose executor died do not count"
    )
    waiting_for: WaitingFor | None = Field(description="Null when it is being performed, or has ended")
    recurrence: TickOf | None = Field(default=None, description="Of a run that a recurrence has started")
    created_at: datetime
    scheduled_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Try(BaseModel):
    """One try of a step."""

    attempt: int = Field(description="The attempt of the run in which it was made")
    started_at: datetime
    finished_at: datetime | None = Field(description="Null while it waits")
    status: int | None = Field(default=None, description="The HTTP status of the answer that made it fail")
    error: Stored = None
    pause_seconds: float | None = Field(default=None, description="How long after it the next one began")


class Step(WithPayloads):
    """A step of a run, as it ended last."""

    step: str = Field(description="Path of the step: its id, after that of each `trigger` it is nested in")
    action: str
    outcome: Literal["succeeded", "failed", "skipped", "waiting"]
    attempt: int
    started_at: datetime
    finished_at: datetime
    result: Stored = None
    error: Stored = None
    tries: list[Try] = Field(description="Each try, the last one included; none of a step that was skipped")


class LogEntry(Shown):
    """A line of the log. `event` says in Bubble's words what it is about."""

    id: int = Field(description="Of what is stored: one for all lines that say how a run went")
    at: datetime
    environment: str
    level: Literal["debug", "info", "warning", "error"]
    event: str
    message: str
    run_id: UUID | None
    chain_id: UUID | None
    workflow: str | None
    step: str | None
    depth: int | None
    details: Stored = None
    user_id: str | None = Field(default=None, description="The `_id` of the user for whom the run works")
    user_email: str | None = Field(default=None, description="The email that this user has now, in lists of lines")


class Delivery(Shown):
    """A webhook request that was let in, or a replay of one."""

    id: UUID
    environment: str
    source: str
    type: str | None = Field(description="Several are separated by commas")
    verdict: DeliveryVerdict | None = Field(
        description="`genuine`: it has proved who sent it; `unsigned`: its source has no secret; null: an earlier "
        "release has stored it. A replay has that of its origin"
    )
    outcome: DeliveryOutcome = Field(description="`accepted`: it has started runs; `unmatched`: no workflow wanted it")
    run_ids: list[UUID]
    duplicates: int = Field(description="How often it was sent again")
    received_at: datetime
    size: int = Field(description="Bytes of the body")
    origin_id: UUID | None = Field(description="The delivery that it replays")


class DeliveryDetails(Delivery, WithPayloads):
    """A delivery with what was sent."""

    headers: dict[str, str] = Field(
        description="Names in lower case; `authorization` and cookies are not kept, and other credentials read "
        "`[redacted]`"
    )
    body_encoding: Literal["text", "base64"] = Field(description="How `body` is written: as it is, or in base64")
    body: str
    replays: list[UUID] = Field(description="The newest first")

    @property
    def plain(self) -> Delivery:
        """The delivery as lists show it."""
        return Delivery(**{name: getattr(self, name) for name in Delivery.model_fields})


class AuditEntry(Shown):
    """That somebody steered something. Secrets are named, and their values are nowhere."""

    id: int
    environment: str
    at: datetime
    actor: str = Field(
        description="`admin`, the label of a token, `oidc:` and the email of somebody in the console, or `cli:` and "
        "the name of a system's user"
    )
    action: str = Field(description="What it was done to, and the verb: `settings.set`, `chain.stop`, `run.cancel` …")
    subject: str = Field(description="Id or name of what it was done to; empty: the environment itself")
    before: Stored = None
    after: Stored = None


class Attempts(Shown):
    """How a run's attempts went: those begun, those that failed, and those whose executor died."""

    begun: int
    failed: int
    crashed: int


class Waiting(Shown):
    """What a waiting run waits for, and in which step: a time, a signal, or the first of the two."""

    step: str = Field(description="Path of the step")
    until: datetime | None
    signal: str | None
    match: Stored = Field(default=None, description="Members that the signal's payload has to have")


class RunFacts(Run):
    """A run with what started it and how it went so far."""

    trigger: str
    version: int | None = Field(description="The deployment that it began with")
    attempts: Attempts
    waiting: Waiting | None

    @property
    def plain(self) -> Run:
        """The run as lists show it."""
        return Run(**{name: getattr(self, name) for name in Run.model_fields})


class RunDetails(RunFacts):
    """A run with its steps and its newest log lines, the oldest of them first."""

    list_id: UUID | None = Field(description="The list that it is an item of")
    user: str | None = Field(
        description="The `_id` of the user for whom it works; `admin_user_…` when an admin has started its chain"
    )
    webhook: Stored = Field(
        default=None,
        description="The delivery that it was started by: source, id, event_id, type, payload, headers, received_at",
    )
    steps: list[Step]
    logs: list[LogEntry]


class ChainRun(Shown):
    """A run in its chain's tree."""

    id: UUID
    parent_run_id: UUID | None
    list_id: UUID | None = Field(description="The list that it is an item of")
    workflow: str
    state: RunState
    depth: int
    created_at: datetime
    finished_at: datetime | None
    error: Stored = None


ChainLimit = Literal["depth", "runs", "workload"]


class ListedChain(Shown):
    """A chain in a list of them."""

    id: UUID
    workflow: str | None = Field(description="Of its root; null when that is no longer stored")
    state: RunState | None = Field(description="Of its root")
    created_at: datetime = Field(description="When it first scheduled anything")
    runs: int = Field(description="Runs that were admitted")
    runs_limit: int = Field(description="What bounds them, with what the chain was granted")
    near: list[ChainLimit] = Field(description="The limits that it came near to")
    warned_at: datetime | None = Field(description="When it last came near to one")
    cut_at: datetime | None = Field(
        description="When a limit first terminated a run of it; null: none has, or all those were readmitted"
    )
    stopped_at: datetime | None


class ChainHead(Shown):
    """What was noted of a chain as a whole."""

    id: UUID
    environment: str
    warned_at: datetime | None
    stopped_at: datetime | None
    stop_reason: str | None


class ChainCount(Shown):
    """How many runs of a chain have one depth and one state, and their workload units."""

    depth: int
    state: RunState
    runs: int
    workload: float


class Gauge(Shown):
    """How far something has come, and what bounds it: `limit` and what the chain was granted beyond it, `extra`."""

    reached: float
    limit: float | None = Field(description="Null: there is none")
    extra: float


class ChainGauges(Shown):
    """How near a chain is to its limits, as they are now."""

    deepest: int = Field(description="Depth of the deepest run that was admitted, in hops from the root")
    depth: Gauge = Field(description="That depth, counted from where its budget of depth begins")
    runs: Gauge
    workload: Gauge = Field(description="In units; it is measured only where there is a limit")


class ChainNode(Shown):
    """Runs of one workflow and state whose parents are in one node."""

    number: int = Field(description="Of the node, in this answer")
    parent: int | None = Field(description="The number of the node above; null for the first ones")
    run: UUID = Field(description="One of the runs")
    runs: int
    workflow: str
    state: RunState
    depth: int
    cut: dict[str, int] = Field(description="How many of them a protection has ended, by its name")
    hidden: int = Field(description="Runs below that are not in this answer; `from` with `run` shows them")


class ChainCycle(Shown):
    """Workflows that follow each other again and again at the end of the deepest path."""

    workflows: list[str]
    rounds: int


class ChainPicture(Shown):
    """A chain as a tree of a bounded number of nodes, those nearest to the root first."""

    id: UUID
    environment: str
    read: int = Field(description="How many runs the tree was made of")
    is_complete: bool = Field(
        description="False: the chain has more runs, and only those nearest to the root were read"
    )
    stopped_at: datetime | None
    gauges: ChainGauges
    cycle: ChainCycle | None
    nodes: list[ChainNode]
