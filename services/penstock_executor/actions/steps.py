"""What an action gets, and what it hands back. Actions decide; whoever calls them commits, records and goes on."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from pydantic import JsonValue

from penstock.broker.publisher import Publisher
from penstock.contracts.messages import ChildRun, Contract
from penstock.db import Connection, Database
from penstock.definitions.models import App, Step
from penstock.domain.addresses import Address
from penstock.domain.workload import Activity, Counts
from penstock.expressions import Expression, Template
from penstock.mail.smtp import MailClient
from penstock.store.installation import Installation
from penstock.store.logs import LogLine
from penstock.store.secrets import Secrets
from penstock_executor.outside.outgoing import Outgoing
from penstock_executor.runs import ClaimedRun, Effect, Values

Scope = dict[str, JsonValue]
Used = Mapping[Activity, int]
_GRACE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A step, ready to be performed. `items` is the template that is evaluated once per item of a list.

    `is_deferrable` says that its effect may be committed together with what comes next, because nothing depends on how
    it ends.
    `consumption` is what it adds to the workload.
    `secrets` are those its condition reads, and those it reads beside.
    """

    definition: Step
    when: Expression | None
    target: Template
    arguments: Template
    items: Template | None
    uses_now: bool
    is_deferrable: bool
    consumption: "Consumption"
    secrets: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())


MOST_MAILS: Final = 20
MOST_MAILS_WITH_FILES: Final = 4
"""They take memory: up to a hundred megabytes each."""


@dataclass(frozen=True, slots=True)
class Mailing:
    """How mail leaves: the mail server, if there is one, who sends when the app does not say, and places for what is
    sent at once.
    """

    client: MailClient | None
    sender: Address
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_MAILS))
    places_with_files: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_MAILS_WITH_FILES))


@dataclass(frozen=True, slots=True)
class Tools:
    """What actions use of the room.

    `find_app(environment)` is the app that is deployed now, for what is started from here on. `schedule(environment,
    depth, child, patience_seconds)` returns when the broker has taken the request; raises Interrupted when it does not
    for so long. `bulk` is to be held by whoever keeps a connection for long: it leaves enough of them to everyone else,
    and to the leases above all.
    `hold(conn, run)` locks the run's row for the transaction; raises LeaseLost when this attempt no longer holds the
    run.
    `write_log` has a line of the app's log written soon.
    """

    database: Database
    bulk: asyncio.Semaphore
    hold: Callable[[Connection, ClaimedRun], Awaitable[None]]
    outgoing: Outgoing
    installation: Installation
    publisher: Publisher
    find_app: Callable[[str], Awaitable[App]]
    schedule: Callable[[str, int, ChildRun, float], Awaitable[None]]
    mail: Mailing
    secrets: Secrets
    write_log: Callable[[LogLine], None]


@dataclass(slots=True)
class Call:
    """One step about to be performed: its plan, and what stands behind its keys, evaluated. `now` is the database's
    time.

    `deadline` is when the run has used up its time, on the loop's clock.
    """

    run: ClaimedRun
    path: str
    plan: StepPlan
    target: JsonValue
    arguments: Values
    scope: Scope
    now: datetime
    app: App
    tools: Tools
    deadline: float

    def until(self) -> float:
        """When the step, or the run if that is sooner, has used up its time, on the loop's clock."""
        seconds = self.plan.definition.timeout_seconds
        return self.deadline if seconds is None else min(self.deadline, asyncio.get_running_loop().time() + seconds)

    def seconds_left(self) -> float:
        """How long a statement may take: a little longer than the step may, so that it is the step's timeout that says
        so.
        """
        return max(self.until() - asyncio.get_running_loop().time(), 0) + _GRACE_SECONDS


@dataclass(frozen=True, slots=True)
class Done:
    """The step is done. `must_commit`: it had an effect outside of the database, so its record may not wait for
    anything else.

    For `return` and `state` the result is the mapping they give, for `log` and `stop` the text. `used` is what only the
    action knows that it has consumed; `metering` says which actions report it.
    """

    result: JsonValue = None
    must_commit: bool = False
    used: Used | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """The step changes the database. The commit tells its result, unless `is_known` beforehand; `nudge` is sent after
    it.
    """

    effect: Effect
    result: JsonValue = None
    is_known: bool = False
    nudge: Contract | None = None
    used: Used | None = None


@dataclass(frozen=True, slots=True)
class Nested:
    """The step performs another workflow, inside this run."""

    workflow: str
    parameters: Values


@dataclass(frozen=True, slots=True)
class Suspend:
    """The run gives up its place until a time, or until a signal with these members comes (`until` None: however long
    that takes).

    The attempt ends; the next one begins after this step.
    """

    until: datetime | None
    signal: str | None = None
    match: Values | None = None


@dataclass(frozen=True, slots=True)
class Coded:
    """The step calls a function of the app's, inside this run."""

    function: str
    arguments: Values


Outcome = Coded | Done | Write | Nested | Suspend
Immediate = Callable[[Call], Outcome]
"""Answers at once, without waiting for anything."""
Awaited = Callable[[Call], Awaitable[Outcome]]
"""Waits for a database, a broker, or somebody else's server."""


class Consumption(NamedTuple):
    """What a kind of step adds to the workload: `begun` are places in the counts that each try adds one to, `done` adds
    what the outcome and the result tell, once the step has succeeded.
    """

    begun: tuple[int, ...]
    done: Callable[[Counts, Outcome, JsonValue], None] | None = None
