"""`delete: <thing or id>`: deletes a thing; one that is gone already is no error."""

from penstock_executor.actions.arguments import data_type, target_thing, text, wrong
from penstock_executor.actions.steps import Call, Outcome, Write
from penstock_executor.runs import DeleteThing


def delete(call: Call) -> Outcome:
    """No result."""
    name = text(call, "type")
    if name is None:
        raise wrong(call, "the data type of the thing cannot be told; add type: to the step")
    return Write(DeleteThing(data_type(call, name), target_thing(call)), is_known=True)
