"""`wait: 3d`: the run gives up its place until then, and costs nothing meanwhile."""

from datetime import datetime
from typing import Final

from penstock.definitions.models import StepAction
from penstock.domain.workload import Activity
from penstock_executor.steps.arguments import duration, later
from penstock_executor.steps.consumption import consumption
from penstock_executor.steps.outcomes import Done, Outcome, Suspend
from penstock_executor.steps.specs import Call, StepSpec


def wait(call: Call) -> Outcome:
    """Nothing, once the duration is over."""
    return pause_until(call, later(call, duration(call, "wait", call.target)))


def pause_until(call: Call, until: datetime) -> Outcome:
    """Wait until then; not at all when it is over."""
    return Done() if until <= call.now else Suspend(until)


SPEC: Final = StepSpec(
    action=StepAction.WAIT,
    target="a duration such as 3d",
    immediate=wait,
    consumes=consumption(Activity.ITEM_SCHEDULED),
)
