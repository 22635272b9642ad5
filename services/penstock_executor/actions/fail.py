"""`fail: message`: the run fails, for good, in the author's words."""

from penstock.errors import Permanent
from penstock.expressions.templates import write_value
from penstock_executor.actions.steps import Call, Outcome


def fail(call: Call) -> Outcome:
    """Raises Permanent, of kind `failed`."""
    raise Permanent(write_value(call.target) or "the workflow failed without saying why", kind="failed")
