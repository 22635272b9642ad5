"""`return: {…}`: the run's answer. `text` with `content_type`, and `redirect`, may stand in it or beside it."""

from penstock_executor.actions.arguments import wrong
from penstock_executor.actions.steps import Call, Done, Outcome


def return_(call: Call) -> Outcome:
    """The evaluated mapping; the run goes on after it."""
    target = {} if call.target is None else call.target
    if not isinstance(target, dict):
        raise wrong(call, "an answer has to be a mapping, such as {id: …}")
    return Done({**target, **call.arguments})
