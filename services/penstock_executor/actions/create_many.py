"""`create_many: TYPE`: a new thing for each item of a list, all of them or none."""

from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from penstock.db import Connection
from penstock.definitions.models import DataType, StepAction
from penstock.domain.ids import new_thing_ids
from penstock.domain.workload import Counts
from penstock.expressions.language import describe_type
from penstock.things.bulk import Row, insert_rows, prepare_row
from penstock.things.records import NewThing
from penstock_executor.effects import BulkEffect
from penstock_executor.steps.arguments import data_type, target_text, wrong
from penstock_executor.steps.consumption import add_written, consumption
from penstock_executor.steps.items import make_of_items
from penstock_executor.steps.outcomes import Outcome, Write
from penstock_executor.steps.specs import Call, StepSpec

_MAX_ITEMS: Final = 100_000


@dataclass(frozen=True, slots=True)
class CreateMany(BulkEffect):
    """Create a thing of each of these rows."""

    data_type: DataType
    until: float
    rows: list[Row]

    async def apply(self, conn: Connection, environment: str, seconds: float) -> JsonValue:
        """The ids."""
        await insert_rows(conn, environment=environment, data_type=self.data_type, rows=self.rows, seconds=seconds)
        return [row["_id"] for row in self.rows]


async def create_many(call: Call) -> Outcome:
    """The ids, in the order of the list. Raises Permanent, naming the item, when one of them does not fit."""
    kind = data_type(call, target_text(call))
    items = call.arguments.get("from")
    if not isinstance(items, list):
        raise wrong(call, f"`from` has to be a list, and it is {describe_type(items)}")
    if len(items) > _MAX_ITEMS:
        raise wrong(
            call,
            f"`from` has {len(items)} items; at most {_MAX_ITEMS} are possible. `import` takes files of any length",
        )
    user, ids = call.run.user_id, new_thing_ids(len(items))
    rows = await make_of_items(
        call, items, lambda index, values: prepare_row(kind, NewThing(ids[index], values, user, call.now))
    )
    return Write(CreateMany(kind, call.until(), rows))


def _count(counts: Counts, _: Outcome, ids: JsonValue) -> None:
    add_written(counts, len(ids) if isinstance(ids, list) else 0)


SPEC: Final = StepSpec(
    action=StepAction.CREATE_MANY,
    target="the name of a data type",
    arguments=("from", "set"),
    awaited=create_many,
    writes=(CreateMany,),
    consumes=consumption(done=_count),
)
