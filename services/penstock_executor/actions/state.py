"""`state: {a: 1}`: values that later steps read as `state.a`."""

from typing import Final

from penstock.definitions.models import StepAction
from penstock_executor.steps.arguments import wrong
from penstock_executor.steps.outcomes import Done, Outcome
from penstock_executor.steps.specs import Becomes, Call, StepSpec


def state(call: Call) -> Outcome:
    """Set the members given; others keep their values."""
    if not isinstance(call.target, dict):
        raise wrong(call, "state has to be a mapping, such as {count: 1}")
    return Done(call.target)


SPEC: Final = StepSpec(
    action=StepAction.STATE,
    target="a mapping",
    immediate=state,
    is_brief=True,
    becomes=Becomes.STATE,
)
