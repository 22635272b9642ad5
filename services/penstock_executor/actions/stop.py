"""`stop: reason`: ends the workflow it stands in, as having succeeded. In a triggered workflow, the one that triggered
it goes on.
"""

from penstock.expressions.templates import write_value
from penstock_executor.actions.steps import Call, Done, Outcome


def stop(call: Call) -> Outcome:
    """No further step of this workflow is performed."""
    return Done(write_value(call.target))
