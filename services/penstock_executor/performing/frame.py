"""A workflow under way, as its steps see it."""

from dataclasses import dataclass

from pydantic import JsonValue

from penstock.definitions.values import format_date
from penstock.store.secrets import Secrets
from penstock.things.privacy import EVERYTHING, Viewer
from penstock_executor.performing.timing import Timing
from penstock_executor.planning.plans import WorkflowPlan
from penstock_executor.runs import ClaimedRun, Values
from penstock_executor.steps.specs import Becomes, Scope, StepPlan


@dataclass(slots=True)
class Frame:
    """A workflow under way: the run's own, or one that a step triggers; or the steps inside a step of one, whose frame
    `of` is then.

    `prefix` stands before the paths of its steps. `may_defer`: no step around it waits for its errors. `viewer` is who
    looks when its steps read. `is_beside`: its steps take turns with those of other frames of the run.
    """

    plan: WorkflowPlan
    scope: Scope
    results: Values
    state: Values
    prefix: str = ""
    nesting: int = 0
    may_defer: bool = True
    answer: Values | None = None
    session: JsonValue = None
    viewer: Viewer = EVERYTHING
    of: "Frame | None" = None
    is_beside: bool = False

    @property
    def whole(self) -> "Frame":
        """That of the workflow."""
        return self.of or self

    @property
    def outcome(self) -> JsonValue:
        """What the workflow answers: what it returns, else the session that it has opened, as with Bubble."""
        return self.session if self.answer is None else self.answer

    def settle(self, step: StepPlan, result: JsonValue) -> bool:
        """Let later steps see a result, of now or of an earlier attempt; whether the workflow continues."""
        match step.spec.becomes:
            case Becomes.RESULT:
                self.results[step.definition.id] = result
            case Becomes.SESSION:
                self.results[step.definition.id] = self.whole.session = result
            case Becomes.ANSWER:
                self.add_answer(result)
            case Becomes.STATE if isinstance(result, dict):
                self.state.update(result)
            case Becomes.END:
                return result is None  # null is that of a stop that was skipped
            case _:
                pass
        return True

    def add_answer(self, members: JsonValue) -> None:
        """Add these members to the workflow's answer, which begins as null."""
        if isinstance(members, dict):
            whole = self.whole
            whole.answer = {**(whole.answer or {}), **members}

    def open_block(self, path: str, key: str | int, names: Values, *, is_beside: bool, may_defer: bool) -> "Frame":
        """The frame of steps inside the step at `path`, which see its item under the names given, and what it sees."""
        results = {**self.results}
        return Frame(
            self.plan, {**self.scope, "steps": results, **names}, results, self.state, prefix=f"{path}[{key}].",
            nesting=self.nesting, may_defer=may_defer and not is_beside, viewer=self.viewer, of=self.whole,
            is_beside=is_beside,
        )  # fmt: skip


def open_frame(
    plan: WorkflowPlan, run: ClaimedRun, parameters: Values, *, secrets: Secrets, timing: Timing, user: Values | None
) -> Frame:
    """A frame with what expressions see: only what this workflow reads is put there."""
    results: Values = {}
    state: Values = {}
    scope: Scope = {"params": parameters, "steps": results, "state": state}
    for root in plan.given:
        match root:
            case "run":
                scope[root] = run.to_scope()
            case "secrets":
                scope[root] = secrets.values(run.environment)
            case "now":
                scope[root] = format_date(timing.now())
            case "user":
                scope[root] = user
            case _:
                scope[root] = None if run.context is None else run.context.get(root)
    return Frame(plan, scope, results, state)
