"""`wait_until: <time>`: the run gives up its place until then, and costs nothing meanwhile."""

from typing import Final

from penstock.definitions.models import StepAction
from penstock.domain.workload import Activity
from penstock_executor.actions.wait import pause_until
from penstock_executor.steps.arguments import moment
from penstock_executor.steps.consumption import consumption
from penstock_executor.steps.outcomes import Outcome
from penstock_executor.steps.specs import Call, StepSpec


def wait_until(call: Call) -> Outcome:
    """Nothing, once that time has come; at once when it has already."""
    return pause_until(call, moment(call, "wait_until", call.target))


SPEC: Final = StepSpec(
    action=StepAction.WAIT_UNTIL,
    target="a time",
    immediate=wait_until,
    consumes=consumption(Activity.ITEM_SCHEDULED),
)
