"""`create: TYPE`: a new thing, or with `upsert` perhaps one that exists already."""

from penstock.domain.ids import new_thing_id
from penstock.things.records import NewThing, prepare_thing
from penstock_executor.actions.arguments import created_by, data_type, mapping, target_text
from penstock_executor.actions.steps import Call, Outcome, Write
from penstock_executor.runs import CreateThing, UpsertThing


def create(call: Call) -> Outcome:
    """The thing. Its id and dates are made here, so that later steps know it before it is committed together with
    them.
    """
    kind = data_type(call, target_text(call, "the name of a data type"))
    thing = NewThing(new_thing_id(), mapping(call, "set"), created_by(call), call.now)
    upsert = call.arguments.get("upsert")
    if isinstance(upsert, list) and upsert:
        return Write(UpsertThing(kind, thing, tuple(str(name) for name in upsert)))
    prepared = prepare_thing(kind, thing)
    return Write(CreateThing(kind, prepared), prepared.shown, is_known=True)
