"""`update: <thing or id>`: sets fields of a thing, adds to its lists, removes from them."""

from penstock.things.records import ThingChange
from penstock.things.values import check_values
from penstock_executor.actions.arguments import data_type, mapping, target_thing, text, wrong
from penstock_executor.actions.steps import Call, Outcome, Write
from penstock_executor.runs import UpdateThing


def update(call: Call) -> Outcome:
    """The thing as it is afterwards. Raises Permanent for values that do not fit; the commit does when there is no such
    thing.
    """
    name = text(call, "type")
    if name is None:
        raise wrong(call, "the data type of the thing cannot be told; add type: to the step")
    kind = data_type(call, name)
    change = ThingChange(target_thing(call), mapping(call, "set"), mapping(call, "add"), mapping(call, "remove"))
    check_values(kind, change.values)
    return Write(UpdateThing(kind, change))
