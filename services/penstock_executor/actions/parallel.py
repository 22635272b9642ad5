"""`parallel: {name: [steps]}`: performs the steps of all branches side by side. Every one of them is remembered."""

from typing import Final

from penstock.definitions.models import StepAction
from penstock_executor.steps.outcomes import Inside, Outcome
from penstock_executor.steps.specs import Call, StepSpec


def parallel(_: Call) -> Outcome:
    """What the last step of each branch has resulted in, by the branch's name."""
    return Inside()


SPEC: Final = StepSpec(action=StepAction.PARALLEL, target="branches by their names", immediate=parallel)
