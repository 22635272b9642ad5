"""`delete: <thing or id>`: deletes a thing; it is not an error when the thing is gone already, or is empty (null)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from penstock.db import Connection
from penstock.definitions.models import DataType, StepAction
from penstock.things.records import delete_things
from penstock_executor.effects import Effect, Group
from penstock_executor.steps.arguments import data_type, text, thing_id, wrong
from penstock_executor.steps.consumption import consumption, deleted_if_any
from penstock_executor.steps.outcomes import Done, Outcome, Write
from penstock_executor.steps.specs import Call, StepSpec


@dataclass(frozen=True, slots=True)
class DeleteThing(Effect):
    """Delete a thing."""

    data_type: DataType
    id: str

    @property
    def changed_type(self) -> DataType:
        """That of the thing."""
        return self.data_type

    def group(self) -> Group:
        """Things of one type."""
        return Group("delete", self.data_type.name, id(self.data_type))

    @classmethod
    async def apply(cls, conn: Connection, environment: str, effects: Sequence[Self]) -> None:
        """No results: it does not matter whether they were there."""
        ids = sorted({effect.id for effect in effects})
        await delete_things(conn, environment=environment, data_type=effects[0].data_type, ids=ids)


def delete(call: Call) -> Outcome:
    """No result."""
    name = text(call, "type")
    if name is None:
        raise wrong(call, "the data type of the thing is not known here; add `type:` to the step")
    id = thing_id(call, call.target)
    return Done() if id is None else Write(DeleteThing(data_type(call, name), id), is_known=True)


SPEC: Final = StepSpec(
    action=StepAction.DELETE,
    target="a thing or its id",
    arguments=("type",),
    immediate=delete,
    writes=(DeleteThing,),
    consumes=consumption(done=deleted_if_any),
)
