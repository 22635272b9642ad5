"""What is sent to the management API, and its problems. `/openapi.json` is generated from these models."""

from datetime import datetime, timedelta
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, RootModel, model_validator

from penstock.definitions.mending import Mending
from penstock.domain.deliveries import DeliveryFilter, DeliveryOutcome
from penstock.domain.depth import MAX_DEPTH
from penstock.domain.durations import parse_duration
from penstock.domain.moments import to_utc
from penstock.domain.policies import MAX_CHAIN_RUNS, MAX_UNITS
from penstock.domain.schedule import Missed, ScheduleFilter
from penstock.domain.states import RunState
from penstock.domain.ticks import MAX_FAILURES, MAX_TIMES, UTC_ZONE, Every, Overlap, check_cron, check_timezone
from penstock.domain.weights import MAX_WEIGHT
from penstock.domain.workload import Activity
from penstock.storable import UNSTORABLE_REASON, is_storable


def _is_duration(value: str) -> str:
    parse_duration(value)
    return value


def _is_cron(value: str) -> str:
    check_cron(value)
    return value


def _is_timezone(value: str) -> str:
    check_timezone(value)
    return value


def _is_storable(value: str) -> str:
    if not is_storable(value):
        raise ValueError(UNSTORABLE_REASON)
    return value


Storable = Annotated[str, AfterValidator(_is_storable)]
Moment = Annotated[datetime, AfterValidator(to_utc)]
_Name = Annotated[Storable, Field(min_length=1, max_length=200)]


class Given(BaseModel):
    """What is sent to us: no key that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ChainStopRequest(Given):
    """Why a chain is to be stopped."""

    reason: Annotated[str, Field(max_length=500)] = Field(default="", description="For the log and the event")


class ChainResumeRequest(Given):
    """How much further than its limits a chain may go, in all. Asking for the same again grants no more."""

    extra_depth: int = Field(default=0, ge=0, le=MAX_DEPTH, description="Hops beyond each budget of depth")
    extra_runs: int = Field(default=0, ge=0, le=MAX_CHAIN_RUNS, description="Runs beyond `chain_runs_limit`")
    extra_workload: float = Field(
        default=0, ge=0, le=MAX_UNITS, allow_inf_nan=False, description="Units beyond `chain_workload_limit`"
    )


class WantedToken(Given):
    """A token that is asked for: for an admin with a role, or for a user of the app."""

    role: Literal["viewer", "operator", "admin"] | None = Field(
        default=None,
        description="What its bearer may do: look, also act, or everything; by default `admin`",
    )
    user: Storable | None = Field(
        default=None, min_length=1, max_length=320, description="Instead of a role: `_id` or email of a user"
    )
    label: Storable = Field(default="", max_length=100, description="Who or what bears it; the audit names it")
    expires: Annotated[str, AfterValidator(_is_duration)] | None = Field(
        default=None, description="How long it holds, such as `30d`; none: until it is revoked, for a user a day"
    )
    workflows: list[_Name] | None = Field(default=None, max_length=1000, description="Reaches these workflows alone")
    types: list[_Name] | None = Field(default=None, max_length=1000, description="Reaches these data types alone")
    payloads: bool = Field(default=True, description="Whether its bearer sees parameters, results, errors and messages")

    @model_validator(mode="after")
    def _is_for_one(self) -> Self:
        if self.role is not None and self.user is not None:
            raise ValueError("give either `role` or `user`, not both")
        if self.expires is not None and not parse_duration(self.expires):
            raise ValueError("expires: a token has to hold for longer than that")
        if self.user is not None and not (self.workflows is None and self.types is None and self.payloads):
            raise ValueError("`workflows`, `types` and `payloads` are for tokens with a role")
        return self


class NewRun(Given):
    """A run that is asked for."""

    workflow: Storable = Field(min_length=1, description="Name of the workflow, case-sensitive")
    parameters: dict[str, JsonValue] = Field(default_factory=dict, description="By name; unknown ones are an error")
    at: Moment | None = Field(default=None, description="When it is due, ISO 8601 with zone; none: now")
    after: Annotated[str, AfterValidator(_is_duration)] | None = Field(
        default=None, description="Instead of `at`: a duration from now, such as `10m`"
    )
    priority: int | None = Field(
        default=None, ge=0, le=9, description="0 (first) to 9 (last); none: the workflow's own"
    )
    idempotency_key: Storable | None = Field(
        default=None, min_length=1, max_length=255, description="The same key makes no second run for 24 hours"
    )

    def due(self, now: datetime) -> datetime | timedelta | None:
        """When it is due, or how much later than now; None for now, which a time of the past means too."""
        if self.after is not None:
            return parse_duration(self.after)
        return self.at if self.at is not None and self.at > now else None


class NewList(Given):
    """A list that is asked for: a run for each of its items."""

    workflow: Storable = Field(min_length=1, description="Name of the workflow, case-sensitive")
    items: list[JsonValue] | None = Field(
        default=None,
        min_length=1,
        max_length=100_000,
        description="One run each: its parameters, or what `with` makes them of",
    )
    find: Storable | None = Field(default=None, description="Instead of `items`: a data type; a run for each thing")
    where: dict[str, JsonValue] | list[JsonValue] | None = Field(
        default=None, description="What the things have to meet, as in the Data API; none: all things of the type"
    )
    with_: dict[str, JsonValue] | None = Field(
        default=None, alias="with", description="The parameters of each run, with `${item}` and `${index}`"
    )
    at: Moment | None = Field(default=None, description="When the first item is due, ISO 8601 with zone; none: now")
    after: Annotated[str, AfterValidator(_is_duration)] | None = Field(
        default=None, description="Instead of `at`: a duration from now, such as `10m`"
    )
    interval: Annotated[str, AfterValidator(_is_duration)] | None = Field(
        default=None, description="Time from one item to the next, such as `2s`; none: all at once"
    )
    sequential: bool = Field(default=False, description="Each run starts when the one before has ended")
    priority: int | None = Field(
        default=None, ge=0, le=9, description="0 (first) to 9 (last); none: the workflow's own"
    )

    then: Storable | None = Field(default=None, description="The workflow that starts once, when all have ended")
    then_with: dict[str, JsonValue] = Field(
        default_factory=dict, description="Its parameters, with `${list.total}`, `${list.failed}` and the other counts"
    )

    def due(self, now: datetime) -> datetime | timedelta | None:
        """When its first item is due, or how much later than now; None for now, which a time of the past means too."""
        if self.after is not None:
            return parse_duration(self.after)
        return self.at if self.at is not None and self.at > now else None


class Payload(RootModel[JsonValue]):
    """Any JSON: what the runs get as the result of the step in which they wait. No body at all is `{}`."""


class NewRecurrence(Given):
    """A recurrence that is asked for, as the step `recur` does; one for the same workflow and thing is replaced."""

    workflow: Storable = Field(min_length=1, description="Name of the workflow, case-sensitive")
    parameters: dict[str, JsonValue] = Field(default_factory=dict, description="By name; unknown ones are an error")
    thing: Storable | None = Field(
        default=None, min_length=1, max_length=200, description="Id of what it is for; none: for the workflow alone"
    )
    cron: Annotated[str, AfterValidator(_is_cron)] | None = Field(
        default=None,
        description="Minute, hour, day, month, day of week; with the second before them; or a macro such as @daily",
    )
    every: Annotated[Every, Field(strict=False)] | None = Field(
        default=None, description="Instead of `cron`: a period from `start`"
    )
    start: Moment | None = Field(
        default=None, description="The first tick of a period (none: a period from now); earliest of a cron"
    )
    end: Moment | None = Field(default=None, description="No tick is later")
    timezone: Annotated[str, AfterValidator(_is_timezone)] = Field(default=UTC_ZONE, description="IANA time zone")
    times: int | None = Field(default=None, ge=1, le=MAX_TIMES, description="At most this many ticks")
    overlap: Annotated[Overlap, Field(strict=False)] = Field(
        default=Overlap.ALLOW, description="What becomes of a tick while the run of the tick before has not ended"
    )
    pause_after_failures: int | None = Field(
        default=None, ge=1, le=MAX_FAILURES, description="Pauses after this many failed runs in a row"
    )

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if (self.cron is None) == (self.every is None):
            raise ValueError("give either `cron` or `every`")
        if self.start is not None and self.end is not None and self.end < self.start:
            raise ValueError("`end` is before `start`, so it would never tick")
        return self


class RecurrencePause(Given):
    """A pause of one recurrence. The body may be left out."""

    note: Storable | None = Field(default=None, max_length=1000, description="For people: why")


class Backfill(Given):
    """Ticks of the past that are asked for: those from `since` on and before `until`."""

    since: Moment
    until: Moment


class ScheduleChoice(Given):
    """Which part of what is coming; without any key, all of the environment."""

    workflow: Storable | None = Field(default=None, min_length=1, max_length=200)
    chain: Annotated[UUID, Field(strict=False)] | None = None
    list: Annotated[UUID, Field(strict=False)] | None = None
    since: Moment | None = Field(default=None, description="Only what is due from then on")
    until: Moment | None = Field(default=None, description="Only what is due before")

    def of(self, environment: str) -> ScheduleFilter:
        """The same as a filter."""
        return ScheduleFilter(environment, self.workflow, self.since, self.until, self.list, self.chain)


class NewPause(ScheduleChoice):
    """A pause: nothing that matches is started until it is lifted; what is being performed continues."""

    note: Storable | None = Field(default=None, max_length=1000, description="For people: why")


class Resumption(ScheduleChoice):
    """The pause that is to be lifted, by the same keys with which it was made."""

    all: bool = Field(default=False, description="Instead: all pauses of the environment")
    missed: Annotated[Missed, Field(strict=False)] = Field(
        default=Missed.QUEUE,
        description="`queue`: what became due meanwhile runs; `drop`: runs that had not begun are cancelled, ticks "
        "passed over",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.all and not self.of("").is_everything:
            raise ValueError("give either `all` or a filter")
        return self


class WorkflowPause(Given):
    """A pause of a workflow. The body may be left out."""

    note: Storable | None = Field(default=None, max_length=1000, description="For people: why")


class WorkflowResumption(Given):
    """The end of a workflow's pause. The body may be left out."""

    missed: Annotated[Missed, Field(strict=False)] = Field(
        default=Missed.QUEUE,
        description="`queue`: what became due meanwhile runs; `drop`: runs that had not begun are cancelled, ticks "
        "passed over",
    )


class RunChoice(Given):
    """Which runs; an empty filter only with `all`."""

    workflow: Storable | None = Field(default=None, min_length=1, max_length=200)
    state: Annotated[list[RunState], Field(strict=False, min_length=1, max_length=9)] | None = Field(
        default=None, description="Only runs in these states"
    )
    chain: Annotated[UUID, Field(strict=False)] | None = None
    parent: Annotated[UUID, Field(strict=False)] | None = Field(
        default=None, description="Only runs that this run has scheduled"
    )
    since: Moment | None = Field(default=None, description="Only runs created from then on")
    until: Moment | None = Field(default=None, description="Only runs created before")
    contains: Storable | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Only runs with this text in their parameters, result or error",
    )
    all: bool = Field(default=False, description="Without any filter: really all of them")

    @property
    def is_everything(self) -> bool:
        """Whether nothing narrows it down. States alone do not: all runs that can be meant are in some of them."""
        return not any((self.workflow, self.chain, self.parent, self.since, self.until, self.contains, self.state))


class RunCancelChoice(RunChoice):
    """Which runs are to be cancelled; an empty filter only with `all`."""

    key: Storable | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="With `workflow`, and nothing else: what `schedule` steps of any run have scheduled under this key",
    )

    @model_validator(mode="after")
    def _key_of_workflow(self) -> Self:
        if self.key is not None and (self.workflow is None or self.model_fields_set != {"workflow", "key"}):
            raise ValueError("give `key` with `workflow`, and nothing else")
        return self


class RunRetry(Given):
    """What was mended before a run is retried. The body may be left out."""

    from_: Storable | None = Field(
        default=None,
        alias="from",
        min_length=1,
        max_length=200,
        description="The step from which it continues; none: the one that failed. Steps before it stay finished, all "
        "others are performed again",
    )
    version: Literal["pinned", "current"] = Field(
        default="pinned", description="By the definition that it began with, or by the one that is deployed now"
    )
    parameters: dict[str, JsonValue] | None = Field(
        default=None, max_length=1000, description="Other values, by name; those left out stay"
    )

    def mending(self) -> Mending:
        """The same as what is changed."""
        return Mending(self.from_, self.version, self.parameters)


class RunRetryChoice(RunChoice, RunRetry):
    """Which failed runs, and what was mended; an empty filter only with `all`. `from` and `parameters` need
    `workflow`.
    """


class DeliveryChoice(Given):
    """Which deliveries are to be replayed; an empty filter only with `all`. Replays are left out."""

    source: Storable | None = Field(default=None, min_length=1, max_length=200)
    type: Storable | None = Field(default=None, min_length=1, max_length=255)
    outcome: DeliveryOutcome | None = None
    since: Moment | None = Field(default=None, description="Only those received from then on")
    until: Moment | None = Field(default=None, description="Only those received before")
    run: Annotated[UUID, Field(strict=False)] | None = Field(
        default=None, description="Only the one that has started this run"
    )
    all: bool = Field(default=False, description="Without any filter: really all of them")

    def of(self, environment: str) -> DeliveryFilter:
        """The same as a filter."""
        return DeliveryFilter(environment, self.source, self.type, self.outcome, self.since, self.until, self.run)


class Move(Given):
    """Another time for a run that waits for its time; a time of the past means now."""

    at: Moment | None = None
    after: Annotated[str, AfterValidator(_is_duration)] | None = Field(
        default=None, description="Instead of `at`: a duration from now, such as `10m`"
    )

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        if (self.at is None) == (self.after is None):
            raise ValueError("give either `at` or `after`")
        return self

    def to(self) -> datetime | timedelta:
        """The time, or how much later than now."""
        if self.after is not None:
            return parse_duration(self.after)
        assert self.at is not None
        return self.at


class WeightsChange(Given):
    """Weights that are to change; those left out stay as they are."""

    weights: dict[Activity, Annotated[float, Field(ge=0, le=MAX_WEIGHT, allow_inf_nan=False)] | None] = Field(
        description="Workload units by activity; null: what is published"
    )


class Problem(BaseModel):
    """What was wrong and what to do (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
