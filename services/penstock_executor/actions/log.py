"""`log: text`: a line in the app's log."""

from typing import Final

from penstock.definitions.models import StepAction
from penstock.expressions.templates import write_value
from penstock_executor.steps.outcomes import Done, Outcome
from penstock_executor.steps.specs import Becomes, Call, StepSpec


def log(call: Call) -> Outcome:
    """The text; any other value is written as JSON."""
    return Done(write_value(call.target))


SPEC: Final = StepSpec(
    action=StepAction.LOG,
    target="a text",
    immediate=log,
    is_brief=True,
    becomes=Becomes.LINE,
)
