"""`run: module.function`: performs an action in Python, whose steps are steps of this run."""

from typing import Final

from penstock.definitions.models import StepAction
from penstock_executor.steps.arguments import mapping, target_text
from penstock_executor.steps.outcomes import Coded, Outcome
from penstock_executor.steps.specs import Call, StepSpec


async def run(call: Call) -> Outcome:
    """The function and its arguments; calling it is left to `python`."""
    return Coded(target_text(call), mapping(call, "with"))


SPEC: Final = StepSpec(
    action=StepAction.RUN,
    target="the name of a Python action",
    arguments=("with",),
    awaited=run,
)
