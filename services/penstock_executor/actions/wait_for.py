"""`wait_for: NAME`: the run gives up its place until the signal comes, and costs nothing meanwhile."""

from datetime import timedelta
from typing import Final

from penstock.definitions.approval_forms import read_form
from penstock.definitions.models import StepAction
from penstock.domain.workload import Activity
from penstock_executor.runs import Values
from penstock_executor.steps.arguments import later, mapping, target_text, wrong
from penstock_executor.steps.consumption import consumption
from penstock_executor.steps.outcomes import Outcome, Suspend
from penstock_executor.steps.specs import Call, StepSpec

MAX_NAME: Final = 200


def wait_for(call: Call) -> Outcome:
    """The payload of the signal, or what somebody with the step's link has answered; null when neither came within the
    step's `timeout`.
    """
    name = target_text(call)
    if len(name) > MAX_NAME:
        raise wrong(call, f"the name of a signal has at most {MAX_NAME} characters")
    seconds = call.plan.definition.timeout_seconds
    until = None if seconds is None else later(call, timedelta(seconds=seconds))
    return Suspend(until, name, mapping(call, "match") or None, form=_read_form(call))


def _read_form(call: Call) -> Values | None:
    """What the form of the link asks for; None without a link."""
    if call.arguments.get("link") is not True:
        return None
    schema = call.arguments.get("schema")
    try:
        read_form(schema)
    except ValueError as error:
        raise wrong(call, f"schema: {error}") from None
    return {"schema": schema}


SPEC: Final = StepSpec(
    action=StepAction.WAIT_FOR,
    target="the name of a signal",
    arguments=("match", "link", "schema"),
    immediate=wait_for,
    consumes=consumption(Activity.ITEM_SCHEDULED),
)
