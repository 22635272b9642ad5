"""Workflows ready to be performed: what can be computed once per deployed version is computed once."""

from dataclasses import dataclass, replace
from typing import Final

from penstock.definitions.compiled import CompiledApp, CompiledStep, Levels
from penstock.definitions.models import Respond, StepAction, Workflow
from penstock.expressions import Expression
from penstock_executor.actions import SPECS
from penstock_executor.steps.specs import StepPlan

_PERFORMED: Final = frozenset({"params", "steps", "state"})
"""Names that expressions read, and that come of performing the workflow."""


@dataclass(frozen=True, slots=True)
class WorkflowPlan:
    """A workflow with its steps. `roots` are the names that its expressions read, `secrets` the secrets; `given` are
    those of the roots that do not come of performing its steps. `linked` are the ids of the steps whose link all steps
    see. `is_guarded`: privacy rules concern what it reads.
    """

    definition: Workflow
    when: Expression | None
    steps: tuple[StepPlan, ...]
    roots: frozenset[str]
    answers_early: bool
    secrets: frozenset[str] = frozenset()
    lookups: Levels = ()
    given: tuple[str, ...] = ()
    linked: tuple[str, ...] = ()
    is_brief: bool = False
    """Nothing in it waits for anybody, so that many of its runs can be performed in one go."""
    is_guarded: bool = False

    def with_secrets(self, names: frozenset[str]) -> "WorkflowPlan":
        """The same, reading these secrets."""
        return self if names == self.secrets else replace(self, secrets=names)


class Plans:
    """The plans of one deployed version, each made when it is first asked for."""

    def __init__(self, compiled: CompiledApp) -> None:
        self._compiled = compiled
        self.app: Final = compiled.app
        """The app as deployed in this version."""
        self._plans: dict[str, WorkflowPlan] = {}
        self._brief: dict[str, bool] = {}
        self._has_rules = any(data_type.privacy for data_type in compiled.app.types.values())

    def workflow(self, name: str) -> WorkflowPlan:
        """Raises KeyError when this version has no such workflow."""
        plan = self._plans.get(name)
        if plan is None:
            plan = self._plans[name] = self._make(name)
        return plan

    def is_brief(self, name: str) -> bool:
        """Whether runs of that workflow can be performed in one go. False for one that is not in this version, or
        cannot be read: a run of it reports that by itself.
        """
        brief = self._brief.get(name)
        if brief is None:
            try:
                brief = self.workflow(name).is_brief
            except Exception:
                brief = False
            self._brief[name] = brief
        return brief

    def _make(self, name: str) -> WorkflowPlan:
        compiled = self._compiled.workflow(name)
        steps = tuple(_plan_step(step) for step in compiled.steps)
        when = [compiled.when] if compiled.when is not None else []
        roots = frozenset[str]().union(*(expression.roots for expression in when), *(_roots(step) for step in steps))
        api = compiled.definition.api
        answers_early = api is not None and api.respond is Respond.ON_RETURN
        secrets = frozenset[str]().union(*(expression.secrets for expression in when), *map(_secrets, steps))
        definition = compiled.definition
        is_guarded = (
            self._has_rules
            and not definition.ignore_privacy
            and (
                definition.python is not None
                or "user" in roots
                or bool(compiled.lookups)
                or any(_shows_things(step) for step in steps)
            )
        )
        waits = is_guarded or definition.python or answers_early or "user" in roots or compiled.lookups
        return WorkflowPlan(
            definition, compiled.when, steps, roots, answers_early, secrets, compiled.lookups,
            given=tuple(roots - _PERFORMED), linked=tuple(step.definition.id for step in steps if _shows_link(step)),
            is_brief=not (waits or is_guarded) and _are_brief(steps), is_guarded=is_guarded,
        )  # fmt: skip


def _shows_link(step: StepPlan) -> bool:
    """Whether all steps see the step's link, as `steps.<id>.link`."""
    return step.definition.action is StepAction.WAIT_FOR and step.definition.arguments.get("link") is True


def _shows_things(step: StepPlan) -> bool:
    """Whether later steps may see things by it that they did not know."""
    return not step.spec.is_brief or bool(step.lookups) or "upsert" in step.definition.arguments


def _are_brief(steps: tuple[StepPlan, ...]) -> bool:
    """Whether none of them waits: for a commit in the midst, a pause between two tries, or a system."""
    if not all(step.spec.is_brief and not step.lookups and step.definition.retry is None for step in steps):
        return False
    writes = sum(bool(step.spec.writes) for step in steps)
    return not writes or (writes == 1 and all(step.is_deferrable for step in steps))


def _plan_step(step: CompiledStep) -> StepPlan:
    definition, arguments, items = step.definition, step.arguments, step.per_item
    roots = step.target.roots | arguments.roots | (step.when.roots if step.when is not None else frozenset())
    asked = step.when.secrets if step.when is not None else frozenset[str]()
    used = step.target.secrets | arguments.secrets | (items.secrets if items is not None else frozenset[str]())
    return StepPlan(
        spec=SPECS[definition.action],
        definition=definition,
        when=step.when,
        target=step.target,
        arguments=arguments,
        items=items,
        uses_now="now" in roots or (items is not None and "now" in items.roots),
        is_deferrable=definition.on_error == "fail" and definition.retry is None,
        secrets=(asked, used),
        lookups=step.lookups,
        item_lookups=step.item_lookups,
        blocks={name: tuple(map(_plan_step, block)) for name, block in step.blocks.items()},
        late=step.late,
    )


def _roots(step: StepPlan) -> frozenset[str]:
    roots = step.target.roots | step.arguments.roots
    if step.when is not None:
        roots |= step.when.roots
    if step.items is not None:
        roots |= step.items.roots
    if step.late is not None:
        roots |= step.late.roots
    return roots.union(*(_roots(inner) for block in step.blocks.values() for inner in block))


def _secrets(step: StepPlan) -> frozenset[str]:
    """The secrets that the step reads, and those inside it."""
    return frozenset[str]().union(
        *step.secrets, *(_secrets(inner) for block in step.blocks.values() for inner in block)
    )
