"""`return: {…}`: the run's answer. `text` with `content_type`, and `redirect`, may stand in it or beside it."""

from typing import Final

from penstock.definitions.models import StepAction
from penstock_executor.steps.arguments import wrong
from penstock_executor.steps.outcomes import Done, Outcome
from penstock_executor.steps.specs import Becomes, Call, StepSpec


def return_(call: Call) -> Outcome:
    """The evaluated mapping; the run continues after it."""
    target = {} if call.target is None else call.target
    if not isinstance(target, dict):
        raise wrong(call, "an answer has to be a mapping, such as {id: …}")
    return Done({**target, **call.arguments})


SPEC: Final = StepSpec(
    action=StepAction.RETURN,
    target="a mapping",
    arguments=("text", "content_type", "redirect"),
    immediate=return_,
    is_brief=True,
    becomes=Becomes.ANSWER,
)
