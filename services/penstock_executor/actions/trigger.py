"""`trigger: WORKFLOW`: performs another workflow inside this run, as a custom event. No hop: the depth stays."""

from typing import Final

from penstock.definitions.models import StepAction
from penstock_executor.steps.arguments import bind, mapping, target_text, workflow
from penstock_executor.steps.outcomes import Nested, Outcome
from penstock_executor.steps.specs import Call, StepSpec


def trigger(call: Call) -> Outcome:
    """The workflow of this run's deployment with its parameters bound. Raises Permanent for unknown parameters."""
    target = workflow(call.app, call, target_text(call))
    return Nested(target.name, bind(call.app, target, mapping(call, "with"), is_inside=True))


SPEC: Final = StepSpec(
    action=StepAction.TRIGGER,
    target="the name of a workflow",
    arguments=("with",),
    immediate=trigger,
)
