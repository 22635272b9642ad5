"""`update_many: TYPE`: sets the same values in all things that meet `where`."""

from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from penstock.db import Connection
from penstock.definitions.models import DataType, StepAction
from penstock.domain.workload import Activity, Counts
from penstock.things.bulk import update_matching
from penstock.things.constraints import Where, compile_where
from penstock.things.values import check_values
from penstock_executor.effects import BulkEffect
from penstock_executor.runs import Values
from penstock_executor.steps.arguments import data_type, mapping, required_constraints, target_text
from penstock_executor.steps.consumption import add_written, consumption
from penstock_executor.steps.outcomes import Outcome, Write
from penstock_executor.steps.specs import Call, StepSpec


@dataclass(frozen=True, slots=True)
class UpdateMany(BulkEffect):
    """Set the same values in all things that meet `where`."""

    data_type: DataType
    until: float
    where: Where
    values: Values

    async def apply(self, conn: Connection, environment: str, seconds: float) -> JsonValue:
        """How many were changed."""
        return await update_matching(
            conn,
            environment=environment,
            data_type=self.data_type,
            where=self.where,
            values=self.values,
            seconds=seconds,
        )


async def update_many(call: Call) -> Outcome:
    """How many things were changed, all or none. Raises Permanent for values and constraints that do not fit."""
    kind = data_type(call, target_text(call))
    where, values = required_constraints(call), mapping(call, "set")
    compile_where(kind, where)
    check_values(kind, values)
    return Write(UpdateMany(kind, call.until(), where, values))


def _count(counts: Counts, _: Outcome, number: JsonValue) -> None:
    add_written(counts, number)


SPEC: Final = StepSpec(
    action=StepAction.UPDATE_MANY,
    target="the name of a data type",
    arguments=("where", "set"),
    awaited=update_many,
    writes=(UpdateMany,),
    consumes=consumption(Activity.SEARCH, done=_count),
)
