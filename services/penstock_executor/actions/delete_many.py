"""`delete_many: TYPE`: deletes all things that meet `where`."""

from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from penstock.db import Connection
from penstock.definitions.models import DataType, StepAction
from penstock.domain.workload import Activity, Counts
from penstock.things.bulk import delete_matching
from penstock.things.constraints import Where, compile_where
from penstock_executor.effects import BulkEffect
from penstock_executor.steps.arguments import data_type, required_constraints, target_text
from penstock_executor.steps.consumption import add_deleted, consumption
from penstock_executor.steps.outcomes import Outcome, Write
from penstock_executor.steps.specs import Call, StepSpec


@dataclass(frozen=True, slots=True)
class DeleteMany(BulkEffect):
    """Delete all things that meet `where`."""

    data_type: DataType
    until: float
    where: Where

    async def apply(self, conn: Connection, environment: str, seconds: float) -> JsonValue:
        """How many were deleted."""
        return await delete_matching(
            conn,
            environment=environment,
            data_type=self.data_type,
            where=self.where,
            seconds=seconds,
        )


async def delete_many(call: Call) -> Outcome:
    """How many things were deleted, all of them or none. Raises Permanent for constraints that do not fit."""
    kind = data_type(call, target_text(call))
    where = required_constraints(call)
    compile_where(kind, where)
    return Write(DeleteMany(kind, call.until(), where))


def _count(counts: Counts, _: Outcome, number: JsonValue) -> None:
    add_deleted(counts, number)


SPEC: Final = StepSpec(
    action=StepAction.DELETE_MANY,
    target="the name of a data type",
    arguments=("where",),
    awaited=delete_many,
    writes=(DeleteMany,),
    consumes=consumption(Activity.SEARCH, done=_count),
)
