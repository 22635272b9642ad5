"""A deployed app with compiled expressions: each workflow is compiled on first use and kept with its version."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from penstock.definitions.connectors import connector_arguments
from penstock.definitions.models import App, Step, StepAction, Workflow
from penstock.expressions import Expression, Template, compile_expression, compile_template

PER_ITEM: Final[Mapping[StepAction, str]] = {StepAction.SCHEDULE_LIST: "with", StepAction.CREATE_MANY: "set"}
"""The argument that is evaluated once per item of a list, by action."""


@dataclass(frozen=True, slots=True)
class CompiledStep:
    """A step with its condition (None: always), what stands behind its action's key, and its other keys.

    `per_item` is the argument that PER_ITEM names, to be evaluated for every item with `item` and `index` in scope; as
    it has no value before, it is left out of `arguments` there. For all other actions it is None. `arguments` of a
    `call` hold its `connector` too.
    """

    definition: Step
    when: Expression | None
    target: Template
    arguments: Template
    per_item: Template | None = None


@dataclass(frozen=True, slots=True)
class CompiledWorkflow:
    """A workflow with its own condition (None: always) and its steps, in order."""

    definition: Workflow
    when: Expression | None
    steps: tuple[CompiledStep, ...]


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
    when = None if workflow.when is None else compile_expression(workflow.when, workflow.place)
    return CompiledWorkflow(workflow, when, tuple(_compile_step(app, step) for step in workflow.steps))


def _compile_step(app: App, step: Step) -> CompiledStep:
    when = None if step.when is None else compile_expression(step.when, step.place)
    target = compile_template(step.target, step.place)
    arguments, per_item = dict(step.arguments), None
    if (name := PER_ITEM.get(step.action)) is not None:
        per_item = compile_template(arguments.pop(name, {}) or {}, step.place)
    if step.action is StepAction.CALL and (connector := app.connectors.get(str(step.target))) is not None:
        arguments["connector"] = connector_arguments(connector)
    return CompiledStep(step, when, target, compile_template(arguments, step.place), per_item)
