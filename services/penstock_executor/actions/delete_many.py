"""`delete_many: TYPE`: deletes all things that meet `where`."""

from penstock.things.constraints import compile_where
from penstock_executor.actions.arguments import data_type, required_constraints, target_text
from penstock_executor.actions.steps import Call, Outcome, Write
from penstock_executor.runs import DeleteMany


async def delete_many(call: Call) -> Outcome:
    """How many things were deleted, all of them or none. Raises Permanent for constraints that do not fit."""
    kind = data_type(call, target_text(call, "the name of a data type"))
    where = required_constraints(call)
    compile_where(kind, where)
    return Write(DeleteMany(kind, call.until(), where))
