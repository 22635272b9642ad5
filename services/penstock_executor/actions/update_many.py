"""`update_many: TYPE`: sets the same values in all things that meet `where`."""

from penstock.things.constraints import compile_where
from penstock.things.values import check_values
from penstock_executor.actions.arguments import data_type, mapping, required_constraints, target_text
from penstock_executor.actions.steps import Call, Outcome, Write
from penstock_executor.runs import UpdateMany


async def update_many(call: Call) -> Outcome:
    """How many things were changed, all of them or none. Raises Permanent for values and constraints that do not
    fit.
    """
    kind = data_type(call, target_text(call, "the name of a data type"))
    where, values = required_constraints(call), mapping(call, "set")
    compile_where(kind, where)
    check_values(kind, values)
    return Write(UpdateMany(kind, call.until(), where, values))
