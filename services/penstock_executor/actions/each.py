"""`each: <list>`: performs the steps inside once for each item; each of them is remembered, by the item's index."""

from typing import Final

from penstock.definitions.models import StepAction
from penstock.expressions.language import describe_type
from penstock_executor.steps.arguments import wrong
from penstock_executor.steps.outcomes import Inside, Outcome
from penstock_executor.steps.specs import Call, StepSpec


def each(call: Call) -> Outcome:
    """A list of what the last step has resulted in, item by item."""
    if not isinstance(call.target, list):
        raise wrong(call, f"a list is expected, and this is {describe_type(call.target)}")
    name, at_once = call.arguments.get("as"), call.arguments.get("at_once")
    return Inside(call.target, name if isinstance(name, str) else "item", at_once if isinstance(at_once, int) else 1)


SPEC: Final = StepSpec(action=StepAction.EACH, target="a list", arguments=("as", "at_once", "steps"), immediate=each)
