"""How a kind of step is declared, a step that is ready to be performed, and one call of it.

A kind of step is declared once: as `SPEC`, in the file of its action. All tables by kind are derived from the specs, in
`penstock_executor.actions`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final

from pydantic import JsonValue

from penstock.definitions.compiled import Late, Levels
from penstock.definitions.models import App, RetryPolicy, Step, StepAction
from penstock.expressions import Expression, Template
from penstock.things.privacy import EVERYTHING, Viewer
from penstock_executor.effects import BulkEffect, Effect
from penstock_executor.runs import ClaimedRun, Values
from penstock_executor.steps.consumption import ONE_ACTION, Consumption
from penstock_executor.steps.outcomes import Outcome
from penstock_executor.steps.tools import Tools

Scope = dict[str, JsonValue]
_GRACE_SECONDS: Final = 2.0


class Becomes(Enum):
    """What the result of a step becomes, beside its record."""

    RESULT = "what later steps see as steps.<id>"
    ANSWER = "members of the workflow's answer"
    SESSION = "what later steps see as steps.<id>, and the answer of a workflow that returns nothing"
    STATE = "members of what later steps see as state"
    LINE = "a line of the app's log"
    END = "the end of the workflow, unless it is null"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """A kind of step. `target` says in words what is expected behind the action's key, `arguments` are its other keys.

    Its action is either `immediate`, which answers at once, or `awaited`, which waits for a database, a broker, or
    another server. `writes` are the effects that it may ask for. `minds_its_time`: it keeps to the step's timeout
    itself, and the run is given back, not failed, when the broker is away for longer. `retries` hold for steps without
    `retry` of their own. `is_brief`: it is immediate, and its result is known before it is written, so that many runs
    of such steps can be performed in one go. `is_apart`: while it waits, it uses nothing of the run but its own call,
    so that the steps of other branches can be performed. `at_once` is what an awaited action answers where it need not
    wait; None where it has to.
    """

    action: StepAction
    target: str
    arguments: tuple[str, ...] = ()
    immediate: "Callable[[Call], Outcome] | None" = None
    awaited: "Callable[[Call], Awaitable[Outcome]] | None" = None
    at_once: "Callable[[Call], Outcome | None] | None" = None
    writes: tuple[type[Effect | BulkEffect], ...] = ()
    consumes: Consumption = ONE_ACTION
    becomes: Becomes = Becomes.RESULT
    minds_its_time: bool = False
    is_brief: bool = False
    is_apart: bool = False
    retries: RetryPolicy | None = None

    @property
    def commits_first(self) -> bool:
        """Whether all that happened before has to be durable first: the step waits, or has an effect of its own."""
        return (self.awaited is not None and self.at_once is None) or bool(self.writes)


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A step, ready to be performed. `items` is the template that is evaluated once per item of a list.

    `is_deferrable` says that its effect may be committed together with what comes next, because nothing depends on how
    it ends. `secrets` are those that its condition reads, and those that the rest of it reads. `lookups` are what it
    reads through references, `item_lookups` what it reads so for the items of its list. `blocks` are the steps inside
    it, by the name of the block. `late` are arguments that are evaluated when a list has ended. `is_code`: it is a
    call in Python, so that what it evaluates cannot be stored.
    """

    spec: StepSpec
    definition: Step
    when: Expression | None
    target: Template
    arguments: Template
    items: Template | None
    uses_now: bool
    is_deferrable: bool
    secrets: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    lookups: Levels = ()
    item_lookups: Levels = ()
    blocks: "Mapping[str, tuple[StepPlan, ...]]" = field(default_factory=dict)
    late: Late | None = None
    is_code: bool = False


@dataclass(slots=True)
class Call:
    """A step about to be performed: its plan, and what stands behind its keys, evaluated.

    `now` is the database's time; `deadline` is when the run has used up its time, on the loop's clock. `viewer` is who
    looks, for privacy rules.
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
    find_referred: Callable[[Viewer, Levels, Sequence[Scope]], Awaitable[Values]]
    viewer: Viewer = EVERYTHING

    async def look_up(self, levels: Levels, scopes: Sequence[Scope]) -> Values:
        """What is read through references in several scopes at once, as far as the viewer may see it."""
        return await self.find_referred(self.viewer, levels, scopes)

    def until(self) -> float:
        """When the step, or the run if that is sooner, has used up its time, on the loop's clock."""
        seconds = self.plan.definition.timeout_seconds
        return self.deadline if seconds is None else min(self.deadline, asyncio.get_running_loop().time() + seconds)

    def seconds_left(self) -> float:
        """How long a statement may take: a little longer than the step, so that the step's own timeout is reported."""
        return max(self.until() - asyncio.get_running_loop().time(), 0) + _GRACE_SECONDS
