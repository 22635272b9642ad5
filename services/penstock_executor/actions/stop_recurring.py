"""`stop_recurring: WORKFLOW`: no more runs of a workflow for a thing, or for none."""

from typing import Final

from penstock.definitions.models import StepAction
from penstock.runs.recurrences.rows import step_recurrence_id
from penstock_executor.actions.recur import ChangeRecurrence, recurring_thing
from penstock_executor.steps.arguments import target_text
from penstock_executor.steps.outcomes import Outcome, Write
from penstock_executor.steps.specs import Call, StepSpec


def stop_recurring(call: Call) -> Outcome:
    """The id of the recurrence, whether there was one or not; runs that it has started continue."""
    environment = call.run.environment
    id = step_recurrence_id(environment, target_text(call), recurring_thing(call))
    return Write(ChangeRecurrence(id, None), str(id), is_known=True)


SPEC: Final = StepSpec(
    action=StepAction.STOP_RECURRING,
    target="the name of a workflow",
    arguments=("for",),
    immediate=stop_recurring,
    writes=(ChangeRecurrence,),
)
