"""A deployed app with compiled expressions: each workflow is compiled on first use and kept with its version."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, NamedTuple

from pydantic import JsonValue

from penstock.definitions.connectors import connector_arguments
from penstock.definitions.models import App, Step, StepAction, Workflow
from penstock.expressions import Expression, Template, compile_expression, compile_template
from penstock.expressions.lookups import NO_LOOKUPS, Lookups

PER_ITEM: Final[Mapping[StepAction, str]] = {StepAction.SCHEDULE_LIST: "with", StepAction.CREATE_MANY: "set"}
"""The argument that is evaluated once per item of a list, by action."""


_OF_ITEMS: Final = frozenset({"item", "index"})


class CompiledLookup(NamedTuple):
    """Things to be looked up: where they are found, their data type, and the expression of their ids."""

    key: str
    type: str
    ids: Expression


Levels = tuple[tuple[CompiledLookup, ...], ...]
"""Each level reads what those before it found."""


@dataclass(frozen=True, slots=True)
class CompiledStep:
    """A step with its condition (None: always), what stands behind its action's key, and its other keys.

    `per_item` is the argument that PER_ITEM names, to be evaluated for every item with `item` and `index` in scope; as
    it has no value before, it is left out of `arguments` there. For all other actions it is None. `arguments` of a
    `call` hold its `connector` too. `lookups` are made before the step, `item_lookups` for the items of its list.
    `blocks` are the steps inside it. `late` are the arguments of what starts behind a list that need its counts; they
    are left out of `arguments` as well.
    """

    definition: Step
    when: Expression | None
    target: Template
    arguments: Template
    per_item: Template | None = None
    lookups: Levels = ()
    item_lookups: Levels = ()
    blocks: Mapping[str, tuple["CompiledStep", ...]] = field(default_factory=dict)
    late: "Late | None" = None


class Late(NamedTuple):
    """Templates as they are written, the names that they read, and their expressions that read through references."""

    written: dict[str, JsonValue]
    roots: frozenset[str]
    rewritten: dict[str, str]


@dataclass(frozen=True, slots=True)
class CompiledWorkflow:
    """A workflow with its own condition (None: always), what is looked up for that, and its steps, in order."""

    definition: Workflow
    when: Expression | None
    steps: tuple[CompiledStep, ...]
    lookups: Levels = ()


class CompiledApp:
    """Built once per deployed version, and shared by all runs that use it."""

    def __init__(self, app: App) -> None:
        self.app: Final = app
        self._workflows: dict[str, CompiledWorkflow] = {}

    def workflow(self, name: str) -> CompiledWorkflow:
        """Raises KeyError for a workflow this version does not have, ExpressionError for one the loader has not
        checked.
        """
        compiled = self._workflows.get(name)
        if compiled is None:
            compiled = self._workflows[name] = _compile_workflow(self.app, self.app.workflows[name])
        return compiled


def _compile_workflow(app: App, workflow: Workflow) -> CompiledWorkflow:
    found = workflow.lookups or NO_LOOKUPS
    when = None
    if workflow.when is not None:
        when = compile_expression(workflow.when, workflow.place, rewritten=found.rewritten)
    steps = tuple(_compile_step(app, step) for step in workflow.steps)
    return CompiledWorkflow(workflow, when, steps, _compile_lookups(found, workflow.place)[0])


def _compile_step(app: App, step: Step) -> CompiledStep:
    found, place = step.lookups or NO_LOOKUPS, step.place
    when = None if step.when is None else compile_expression(step.when, place, rewritten=found.rewritten)
    target = compile_template(step.target, place, rewritten=found.rewritten)
    given, per_item = dict(step.arguments), None
    if (name := PER_ITEM.get(step.action)) is not None:
        per_item = compile_template(given.pop(name, {}) or {}, place, rewritten=found.rewritten)
    if step.action is StepAction.CALL and (connector := app.connectors.get(str(step.target))) is not None:
        given["connector"] = connector_arguments(connector)
    late = _take_late(step, given, found)
    arguments = compile_template(given, place, rewritten=found.rewritten)
    once, of_items = _compile_lookups(found, place, step.action in PER_ITEM)
    blocks = {name: tuple(_compile_step(app, inner) for inner in block) for name, block in step.blocks.items()}
    return CompiledStep(step, when, target, arguments, per_item, once, of_items, blocks, late)


def _take_late(step: Step, given: dict[str, JsonValue], found: Lookups) -> Late | None:
    """Take out of `then_with` what reads `list`, whose counts are known when it has ended."""
    written = given.get("then_with")
    if not isinstance(written, dict):
        return None
    compiled = {name: compile_template(value, step.place, rewritten=found.rewritten) for name, value in written.items()}
    late = {name: value for name, value in written.items() if "list" in compiled[name].roots}
    given["then_with"] = {name: value for name, value in written.items() if name not in late}
    roots = frozenset[str]().union(*(compiled[name].roots for name in late)) - {"list"}
    texts = str(late)
    return Late(late, roots, {old: new for old, new in found.rewritten.items() if old in texts}) if late else None


def _compile_lookups(found: Lookups, place: str, has_items: bool = False) -> tuple[Levels, Levels]:
    """Those of the step itself, and those of the items of its list, if it has one."""
    once: list[tuple[CompiledLookup, ...]] = []
    per_item: list[tuple[CompiledLookup, ...]] = []
    for _, level in groupby(sorted(found.things, key=lambda lookup: lookup.level), lambda lookup: lookup.level):
        lookups = [CompiledLookup(one.key, one.type, compile_expression(one.ids, place)) for one in level]
        once.append(tuple(one for one in lookups if not (has_items and one.ids.roots & _OF_ITEMS)))
        per_item.append(tuple(one for one in lookups if has_items and one.ids.roots & _OF_ITEMS))
    return _without_empty(once), _without_empty(per_item)


def _without_empty(levels: list[tuple[CompiledLookup, ...]]) -> Levels:
    return tuple(level for level in levels if level)
