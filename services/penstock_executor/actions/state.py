"""`state: {a: 1}`: values that later steps read as `state.a`."""

from penstock_executor.actions.arguments import wrong
from penstock_executor.actions.steps import Call, Done, Outcome


def state(call: Call) -> Outcome:
    """Set the members given; others keep their values."""
    if not isinstance(call.target, dict):
        raise wrong(call, "state has to be a mapping, such as {count: 1}")
    return Done(call.target)
