"""`stop: reason`: ends the workflow it stands in, as succeeded. The one that triggered that workflow continues."""

from typing import Final

from penstock.definitions.models import StepAction
from penstock.expressions.templates import write_value
from penstock_executor.steps.outcomes import Done, Outcome
from penstock_executor.steps.specs import Becomes, Call, StepSpec


def stop(call: Call) -> Outcome:
    """No further step of this workflow is performed."""
    return Done(write_value(call.target))


SPEC: Final = StepSpec(
    action=StepAction.STOP,
    target="a text",
    immediate=stop,
    is_brief=True,
    becomes=Becomes.END,
)
