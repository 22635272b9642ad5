"""One frozen model per message. Unknown fields of what our services send to each other are ignored on decode, so that a
rolling deploy works; in what others send (`FROM_OTHERS`) they are mistakes, and refused. Removing, renaming or retyping
a field is a `.v2` beside the `.v1`. Field docs are the docs: `docs/asyncapi.yaml` is generated from them.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import ClassVar, Final, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from penstock import exact_json
from penstock.domain.durations import parse_duration
from penstock.domain.moments import to_utc
from penstock.domain.states import RunState
from penstock.errors import DecodeError
from penstock.storable import UNSTORABLE_REASON, is_storable

Parameters = dict[str, JsonValue]
_PASSED_THROUGH: Final = frozenset({"parameters", "result", "payload"})
"""Fields with values of authors and callers, of which every digit stays."""


def _check_storable(value: str) -> str:
    if not is_storable(value):
        raise ValueError(UNSTORABLE_REASON)
    return value


class Contract(BaseModel):
    """What all messages share: frozen, strict about types, known by their `TYPE`; most ignore unknown fields."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)
    TYPE: ClassVar[str]

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """The message in `body` (JSON). Raises DecodeError, whose reason names the field and what was expected."""
        try:
            message = cls.model_validate_json(body)
            return message._with_exact_numbers(body) if exact_json.has_long_number(body) else message
        except ValidationError as error:
            raise DecodeError(describe(error, cls), body) from None

    def _with_exact_numbers(self, body: bytes) -> Self:
        """This message with what it passes through as `body` has it: pydantic reads floats."""
        fields = exact_json.loads(body)
        known = _PASSED_THROUGH.intersection(type(self).model_fields)
        passed = {name: fields[name] for name in known if name in fields} if isinstance(fields, dict) else {}
        return self.model_copy(update=passed) if passed else self

    def encode(self) -> bytes:
        """This message as JSON, without the fields that are not set."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


def describe(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """A pydantic error as one line a person can act on: `list.items: Input should be a valid list`. With the model that
    was validated, an unknown key is shown the nearest that is known.
    """
    problems = error.errors(include_url=False, include_input=False)
    # Where a value may be left out, pydantic reports the null as well, and puts the name of a type into the place.
    optional = {problem["loc"][:-1] for problem in problems if problem["type"] == "none_required"}
    problems = [problem for problem in problems if problem["type"] != "none_required"][:5]
    return "; ".join(
        f"{'.'.join(_parts(problem['loc'], optional)) or 'body'}: "
        + (_unknown(problem["loc"], model) if model and problem["type"] == "extra_forbidden" else problem["msg"])
        for problem in problems
    )


def _parts(place: tuple[int | str, ...], optional: Collection[tuple[int | str, ...]]) -> list[str]:
    return [str(part) for number, part in enumerate(place) if place[:number] not in optional]


def _unknown(place: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """What is wrong with an unknown key at `place`, with the known one that its author may have meant."""
    owner = ListOfRuns if place[0] == "list" and len(place) > 1 else model
    known = [field.alias or name for name, field in owner.model_fields.items()]
    near = get_close_matches(str(place[-1]), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(known)}"
    return f"this key is not known; {hint}"


class ListOfRuns(BaseModel):
    """`list` of a schedule message: one run per item."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    items: list[JsonValue] = Field(
        description="One run each: an item that is an object is that run's parameters, beside the common ones"
    )
    interval: str | None = Field(default=None, description="Time between two items, such as `2s`; none: all at once")

    @field_validator("interval")
    @classmethod
    def _is_duration(cls, value: str | None) -> str | None:
        if value is not None:
            parse_duration(value)
        return value


class ScheduleRun(Contract):
    """Schedule one run, or a list of them. Published by internal services in any language to `penstock.schedule`."""

    model_config = ConfigDict(extra="forbid")
    TYPE: ClassVar[str] = "run.schedule.v1"
    workflow: str = Field(min_length=1, description="Name of the workflow, case-sensitive")
    environment: str = Field(description="`development` or `live`")
    parameters: Parameters = Field(
        default_factory=dict, description="By name, checked against the workflow's definition"
    )
    at: datetime | None = Field(default=None, description="When it is due, ISO 8601 with zone; none, or the past: now")
    after: str | None = Field(default=None, description="Instead of `at`: a duration from now, such as `10m`")
    list_: ListOfRuns | None = Field(default=None, alias="list", description="One run per item instead of a single run")
    priority: int | None = Field(
        default=None, ge=0, le=9, description="0 (first) to 9 (last); none: the workflow's own"
    )

    @field_validator("after")
    @classmethod
    def _is_duration(cls, value: str | None) -> str | None:
        if value is not None:
            parse_duration(value)
        return value

    @field_validator("at")
    @classmethod
    def _is_moment(cls, value: datetime | None) -> datetime | None:
        return None if value is None else to_utc(value)

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        if self.at is not None and self.after is not None:
            raise ValueError("give either `at` or `after`, not both")
        return self


class ShowRun(Contract):
    """Report a run as it is now. Published by internal services to `penstock.schedule`, with `reply_to`."""

    model_config = ConfigDict(extra="forbid")
    TYPE: ClassVar[str] = "run.status.v1"
    environment: str = Field(description="`development` or `live`")
    run_id: UUID


class CancelRun(Contract):
    """Cancel a run unless it has ended. Published by internal services to `penstock.schedule`."""

    model_config = ConfigDict(extra="forbid")
    TYPE: ClassVar[str] = "run.cancel.v1"
    environment: str = Field(description="`development` or `live`")
    run_id: UUID


class CancelRuns(Contract):
    """Cancel what `schedule` steps of any run have scheduled under a key, as far as it has not ended. Published by
    internal services to `penstock.schedule`; `message_id` is the idempotency key.
    """

    model_config = ConfigDict(extra="forbid")
    TYPE: ClassVar[str] = "runs.cancel.v1"
    environment: str = Field(description="`development` or `live`")
    workflow: str = Field(min_length=1, max_length=200, description="Name of the workflow, case-sensitive")
    key: str = Field(min_length=1, max_length=1000, description="The key that the steps gave")

    @field_validator("workflow", "key")
    @classmethod
    def _is_storable(cls, value: str) -> str:
        return _check_storable(value)


class SendSignal(Contract):
    """Wake the runs that wait for a signal, or keep it for one that will. Published by internal services to
    `penstock.schedule`; `message_id` is the idempotency key.
    """

    model_config = ConfigDict(extra="forbid")
    TYPE: ClassVar[str] = "signal.send.v1"
    environment: str = Field(description="`development` or `live`")
    name: str = Field(min_length=1, max_length=200, description="Name of the signal")
    payload: JsonValue = Field(default=None, description="What the runs get, as the result of their step")

    @field_validator("name")
    @classmethod
    def _is_storable(cls, value: str) -> str:
        return _check_storable(value)


class ChildRun(BaseModel):
    """One run that a step of a run schedules."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)
    parent_run_id: UUID
    key: str = Field(description="The step's path (and index) in the parent: the same key never makes a second run")
    workflow: str
    parameters: Parameters = Field(default_factory=dict)
    scheduled_at: datetime | None = Field(default=None, description="When it is due; none: now")
    priority: int | None = Field(default=None, ge=0, le=9)
    traceparent: str | None = None
    run_id: UUID | None = Field(
        default=None, description="The id of the run, where the author's idempotency key decides it"
    )


class ScheduleChildren(Contract):
    """Executor → scheduler: the runs that steps have scheduled, all of one environment and depth; one message per
    batch.
    """

    TYPE: ClassVar[str] = "runs.schedule.v1"
    environment: str
    runs: list[ChildRun] = Field(min_length=1)


class ExpandList(Contract):
    """Executor → scheduler: a list was stored and awaits expansion. Only a nudge: the stored list is the truth."""

    TYPE: ClassVar[str] = "list.expand.v1"
    list_id: UUID


class WakeScheduler(Contract):
    """Anyone → scheduler: something is due sooner than you may know. Only a nudge: the rows are the truth."""

    TYPE: ClassVar[str] = "scheduler.wake.v1"
    due_at: datetime | None = None
    is_turn: bool = Field(default=False, description="only places under limits have become free")


class DueRun(BaseModel):
    """One run that is due."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)
    run_id: UUID
    workflow: str
    chain_id: UUID
    parent_run_id: UUID | None = None
    traceparent: str | None = None
    reply_to: str | None = Field(
        default=None, description="Queue of the ingress instance whose caller waits for the answer"
    )


class ExecuteRuns(Contract):
    """Ingress and scheduler → executors: runs that are due, all of one environment, lane and depth. The rows are the
    truth.
    """

    TYPE: ClassVar[str] = "run.execute.v1"
    runs: list[DueRun] = Field(min_length=1)


class RunAnswer(Contract):
    """Executor → ingress, or the queue that a schedule message has named: the answer for a waiting caller. Not
    persistent: the answer is stored on the run too.
    """

    TYPE: ClassVar[str] = "run.answer.v1"
    run_id: UUID
    state: RunState
    result: JsonValue = None
    error: JsonValue = None

    def encode(self) -> bytes:
        """This message as JSON, whatever an author's code has returned or raised: every digit of its numbers, and
        U+FFFD for half of a surrogate pair, at which pydantic raises.
        """
        fields = {"run_id": str(self.run_id), "state": self.state.value, "result": self.result, "error": self.error}
        return exact_json.dumps({name: value for name, value in fields.items() if value is not None})


class RunEvent(Contract):
    """What happened to a run, for everyone who listens: routing key `<environment>.run.<what happened>`."""

    TYPE: ClassVar[str] = "run.event.v1"
    id: UUID
    workflow: str
    environment: str
    state: RunState
    depth: int
    chain_id: UUID
    parent_run_id: UUID | None = None
    attempt: int = 0
    reason: str | None = Field(default=None, description="Why it failed, was skipped or terminated")
    path: list[str] | None = Field(
        default=None, description="On termination: the names of the workflows from the root to this run"
    )
    cycle: str | None = Field(
        default=None, description="On termination: what repeats at the end of the path, such as `a → b → a, 5 times`"
    )
    at: datetime


class RunEvents(Contract):
    """What happened to many runs at once: ten or more events of one routing key, in the order in which they happened.

    The header `depth` is that of the deepest run.
    """

    TYPE: ClassVar[str] = "run.events.v1"
    events: list[RunEvent]


class ChainEvent(Contract):
    """A chain has come near a limit, was stopped, or was resumed: routing key `<environment>.chain.<what happened>`."""

    TYPE: ClassVar[str] = "chain.event.v1"
    chain_id: UUID
    environment: str
    depth: int | None = None
    depth_limit: int | None = None
    workflow: str | None = None
    limit: str | None = Field(default=None, description="Warned: `depth`, `runs` or `workload`, whichever is near")
    reached: float | None = Field(default=None, description="Warned: how much of it is used")
    of: float | None = Field(default=None, description="Warned: the limit")
    cycle: tuple[str, ...] | None = Field(default=None, description="Warned: the workflows that repeat, if any do")
    reason: str | None = Field(default=None, description="Stopped: the reason that was given, if any")
    by: str | None = Field(default=None, description="Stopped or resumed: by whom")
    runs: int | None = Field(default=None, description="Stopped: runs that were cancelled; resumed: runs readmitted")
    at: datetime


class ListEvent(Contract):
    """A list's runs have all ended: routing key `<environment>.list.finished`. `total` is how many items it has; those
    that never became runs, because they were given up, are in no other count. It comes again when runs of a list that
    had finished were taken up again, and have ended.
    """

    TYPE: ClassVar[str] = "list.event.v1"
    list_id: UUID
    environment: str
    workflow: str
    total: int
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    cancelled: int = 0
    terminated: int = 0
    at: datetime


class WorkloadEvent(Contract):
    """Workload has reached a threshold: routing key `<environment>.workload.warned`. Once per threshold and period at
    most.
    """

    TYPE: ClassVar[str] = "workload.event.v1"
    environment: str
    threshold: str = Field(
        description="`allowance_75` or `allowance_100` of a calendar month (UTC), or `spike` of an hour, once a day"
    )
    units: float = Field(description="Workload units of the month, or the hour, so far")
    limit: float = Field(description="Units at which the threshold lies")
    since: datetime = Field(description="When the month, or the hour, began")
    at: datetime


FROM_OTHERS: Final[tuple[type[Contract], ...]] = (ScheduleRun, ShowRun, CancelRun, CancelRuns, SendSignal)
"""Commands that internal services in any language send."""
_INTERNAL: Final[tuple[type[Contract], ...]] = (ScheduleChildren, ExpandList, WakeScheduler, ExecuteRuns, RunAnswer)
COMMANDS: Mapping[str, type[Contract]] = {model.TYPE: model for model in (*FROM_OTHERS, *_INTERNAL)}
EVENTS: Mapping[str, type[Contract]] = {
    model.TYPE: model for model in (RunEvent, RunEvents, ChainEvent, ListEvent, WorkloadEvent)
}
