"""What the management API shows beside runs, chains and the log (`penstock.runs.views`), as rows become it.
`/openapi.json` is generated from these models.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field, JsonValue

from penstock.domain.schedule import Missed
from penstock.domain.states import RunState
from penstock.domain.ticks import Every, Overlap
from penstock.runs.views.lists import RunList
from penstock.runs.views.models import AuditEntry, ChainRun, Delivery, LogEntry, Run, Shown
from penstock.runs.views.schedule import ScheduleEntry


class EnvironmentSettings(Shown):
    """Settings of an environment."""

    depth_limit: int
    depth_policy: Literal["terminate", "observe"]
    chain_runs_limit: int
    chain_workload_limit: float | None = Field(description="Maximum workload units per chain; null: none")
    notification_addresses: list[str]
    notification_webhooks: list[dict[str, str]] = Field(description="URL and the name of the secret of each")
    notification_slack: list[str]
    notification_every: dict[str, str] = Field(description="By kind; those that are not named: 1d")
    workload_allowance: float = Field(
        description="Units per calendar month (UTC); the addresses get a mail at 75 and 100 %; 0: none"
    )
    workload_spike_factor: float = Field(
        description="An hour with this many times the week's median is a spike; 0: never"
    )
    workload_spike_minimum: float = Field(description="Workload units below which no hour is a spike")
    retention: str = Field(description="How long what has ended is kept, such as `30d`")


class Token(Shown):
    """A token, without itself."""

    id: UUID
    label: str
    role: Literal["viewer", "operator", "admin"] | None = Field(description="Null for that of a user")
    user: str | None = Field(description="The user's `_id`")
    environment: str | None = Field(description="Null: both")
    workflows: list[str] | None = Field(description="The workflows that it reaches; null: all")
    types: list[str] | None = Field(description="The data types that it reaches; null: all")
    payloads: bool = Field(description="Whether its bearer sees parameters, results, errors and messages")
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute")


class MadeToken(Token):
    """A token that was made."""

    token: str = Field(description="It, this once")


class TokenPage(Shown):
    """Tokens that hold, newest first."""

    results: list[Token]
    after: str | None


class ListPage(Shown):
    """Lists, newest first."""

    results: list[RunList]
    after: str | None


class StoppedChain(Shown):
    """What became of a request to stop a chain."""

    id: UUID
    stopped: bool = Field(description="False when it was stopped before")
    cancelled: int = Field(description="Runs that had not ended and were cancelled")


class ChainGrant(Shown):
    """How much further than its limits a chain may go, in all."""

    extra_depth: int
    extra_runs: int
    extra_workload: float


class ResumedChain(Shown):
    """What became of a request to resume a chain."""

    resumed: int = Field(description="Runs that were readmitted where they were cut")
    still_terminated: int = Field(description="Runs of the chain that stay terminated")
    grant: ChainGrant


class CancelledRun(Shown):
    """What became of a request to cancel a run."""

    cancelled: int = Field(description="1, or 0 when the run had ended before")
    run: Run


class File(Shown):
    """A file value, as steps and parameters of type `any` take it. The file is kept for seven days."""

    file: UUID
    name: str
    content_type: str
    size: int = Field(description="In bytes")


class FileLink(Shown):
    """A URL with which anyone can fetch a file, private or not, until it expires."""

    url: str
    expires_at: datetime


class SignalOutcome(Shown):
    """What became of a signal."""

    woken: int = Field(description="Runs that waited for it and continue now")
    kept: bool = Field(description="No run waited: the signal is kept for 24 hours, for the first one that does")
    duplicate: bool = Field(
        default=False, description="It was posted before, with the same Idempotency-Key; nothing was done"
    )


class RunPage(Shown):
    """Runs, newest first; `after` asks for the next page."""

    results: list[Run]
    after: str | None


class LogPage(Shown):
    """Log lines, newest first; `after` asks for the next page."""

    results: list[LogEntry]
    after: str | None


class DeliveryPage(Shown):
    """Deliveries, newest first; `after` asks for the next page."""

    results: list[Delivery]
    after: str | None


class AuditPage(Shown):
    """Acts, newest first; `after` asks for the next page."""

    results: list[AuditEntry]
    after: str | None


class ChainTree(Shown):
    """Runs of a chain, those nearest to the root first; `after` asks for the next page."""

    results: list[ChainRun]
    after: str | None


class Stopped(Shown):
    """That a chain was stopped."""

    at: datetime
    reason: str | None


class Chain(Shown):
    """A chain: all runs that come from one root."""

    id: UUID
    environment: str
    root: Run | None
    runs: int
    counts: dict[str, int] = Field(description="Runs by state")
    depths: dict[str, dict[str, int]] = Field(description="Runs by depth and state")
    workload: float = Field(description="Workload units of its runs")
    warned_at: datetime | None
    stopped: Stopped | None
    tree: ChainTree


class WorkloadPart(Shown):
    """What was consumed by one workflow, in one activity, or in one hour; one of the three is set.

    None of them is: requests that belong to no workflow, such as those to the Data API.
    """

    workflow: str | None = None
    activity: str | None = None
    hour: datetime | None = None
    count: int = Field(description="How often the activity happened; of a workflow or an hour, how many runs ended")
    units: float


class WorkloadMonth(Shown):
    """This calendar month (UTC)."""

    since: datetime
    units: float
    allowance: float | None


class WorkloadPage(Shown):
    """Workload in units, the largest part first, or the newest hour; `units` is the sum of all pages; `after` asks for
    the next page.
    """

    by: str
    since: datetime | None
    until: datetime | None
    units: float
    month: WorkloadMonth
    results: list[WorkloadPart]
    after: str | None


class Weight(Shown):
    """What an activity weighs, in workload units, and what it weighs by the published figures."""

    activity: str
    weight: float
    published: float


class WeightList(Shown):
    """The weights of all activities."""

    results: list[Weight]
    after: str | None


class RecurrenceRun(Shown):
    """The run of a recurrence's last tick; its state is null when the run is no longer stored."""

    id: UUID
    state: RunState | None


class Recurrence(Shown):
    """A recurrence; of `cron` and `every`, one is set. `origin` is `trigger` (`on: recurrence`) or `step` (`recur`, or
    this API).
    """

    id: UUID
    workflow: str
    environment: str
    origin: Literal["trigger", "step"]
    state: Literal["active", "paused", "ended"] = Field(description="`ended`: it will not tick again")
    thing: str | None = Field(description="What it was set for")
    cron: str | None
    every: Every | None
    start: datetime | None
    end: datetime | None
    timezone: str
    times: int | None = Field(description="At most this many ticks")
    ticks_left: int | None = Field(description="How many of these are left")
    overlap: Overlap
    catch_up_seconds: float
    jitter_seconds: float
    parameters: dict[str, JsonValue]
    next_tick_at: datetime | None
    last_tick_at: datetime | None
    last_run: RecurrenceRun | None
    ticks: int = Field(description="Ticks that made a run")
    skipped: int = Field(description="Ticks that made none, because the run before had not ended")
    missed: int = Field(
        description="Ticks that made none, because no scheduler worked for too long, or they were dropped after a pause"
    )
    refused: int = Field(
        description="Ticks that made none, because the workflow was gone or its parameters did not fit"
    )
    pause_after_failures: int | None
    created_at: datetime
    paused_at: datetime | None
    pause_note: str | None = Field(description="Why it is paused")


class RecurrencePage(Shown):
    """Recurrences, by workflow; `after` asks for the next page."""

    results: list[Recurrence]
    after: str | None


class NextTicks(Shown):
    """The coming ticks, in order, as long as nothing changes; there is one page."""

    results: list[datetime]
    after: str | None


class RecurrenceTick(Shown):
    """What became of a tick."""

    tick_at: datetime
    outcome: Literal["started", "skipped", "missed", "dropped", "refused"]
    run: RecurrenceRun | None
    reason: str | None = Field(description="Why it has no run")
    decided_at: datetime


class RecurrenceTickPage(Shown):
    """The last ticks of a recurrence, newest first; a hundred are kept."""

    results: list[RecurrenceTick]
    after: str | None


class Backfilled(Shown):
    """The runs of ticks that were made up; `ticks` counts also those that had their run before."""

    ticks: int
    run_ids: list[UUID] = Field(description="The runs that are new")


class SchedulePage(Shown):
    """What is coming, in the order in which it is due; `after` asks for the next page."""

    results: list[ScheduleEntry]
    after: str | None


class Pause(Shown):
    """A pause of the schedule; null does not matter."""

    id: UUID
    environment: str
    workflow: str | None
    chain: UUID | None
    list: UUID | None
    since: datetime | None = Field(description="With `until`: only what is due from then on, and before")
    until: datetime | None
    note: str | None
    paused_at: datetime


class PausePage(Shown):
    """Pauses that are in force, the oldest first; there is one page."""

    results: list[Pause]
    after: str | None


class Resumed(Shown):
    """The pauses that were lifted. What became due meanwhile runs, or is dropped, within seconds."""

    resumed: list[Pause]
    missed: Missed


class Operation(Shown):
    """What is done to all runs, or deliveries, that meet a filter, and how far it is. It continues by itself; ask
    again.
    """

    id: UUID
    environment: str
    kind: Literal[
        "runs.cancel",
        "runs.retry",
        "schedule.cancel",
        "deliveries.replay",
        "dead-letters.retry",
        "dead-letters.discard",
        "dead-letters.resolve",
    ]
    state: Literal["running", "finished", "failed"]
    filter: dict[str, JsonValue]
    total: int = Field(description="How many met the filter when it began")
    done: int = Field(
        description="How many were cancelled, taken up again, or replayed; runs may have ended by themselves, and a "
        "delivery whose source is not deployed any more is passed over"
    )
    items: int = Field(description="Items of lists that were given up before they became runs")
    error: str | None = Field(description="Why its last turn failed; it is tried again while the state is `running`")
    actor: str
    created_at: datetime
    finished_at: datetime | None


class CancelledSchedule(Shown):
    """What was cancelled."""

    cancelled: int = Field(description="Runs that were scheduled or waited for a time, and ticks that are passed over")
    items: int = Field(description="Items of lists that had no runs yet")
