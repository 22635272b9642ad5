"""`fail: message`: the run fails, for good, in the author's words."""

from typing import Final

from penstock.definitions.models import StepAction
from penstock.errors import Permanent
from penstock.expressions.templates import write_value
from penstock_executor.steps.outcomes import Outcome
from penstock_executor.steps.specs import Becomes, Call, StepSpec


def fail(call: Call) -> Outcome:
    """Raises Permanent, of kind `failed`."""
    raise Permanent(write_value(call.target) or "the workflow failed without a message", kind="failed")


SPEC: Final = StepSpec(
    action=StepAction.FAIL,
    target="a text",
    immediate=fail,
    is_brief=True,
    becomes=Becomes.NOTHING,
)
