"""`trigger: WORKFLOW`: performs another workflow inside this run, as a custom event. No hop: the depth stays."""

from penstock_executor.actions.arguments import bind, mapping, target_text, workflow
from penstock_executor.actions.steps import Call, Nested, Outcome


def trigger(call: Call) -> Outcome:
    """The workflow, of the deployment this run uses, with its parameters bound. Raises Permanent for what it does not
    know.
    """
    target = workflow(call.app, call, target_text(call, "the name of a workflow"))
    return Nested(target.name, bind(call.app, target, mapping(call, "with")))
