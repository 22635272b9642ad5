"""`log: text`: a line in the app's log."""

from penstock.expressions.templates import write_value
from penstock_executor.actions.steps import Call, Done, Outcome


def log(call: Call) -> Outcome:
    """The text; any other value is written as JSON."""
    return Done(write_value(call.target))
