"""`update: <thing or id>`: sets fields of a thing, adds to its lists, removes from them. Where there is none (null),
nothing is done, as in Bubble.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from pydantic import JsonValue

from penstock.db import Connection
from penstock.definitions.models import DataType, StepAction
from penstock.errors import Permanent
from penstock.things.privacy import EVERYTHING, Viewer
from penstock.things.records import Thing, ThingChange, update_things
from penstock.things.values import check_values
from penstock_executor.effects import Effect, Group, show_results
from penstock_executor.steps.arguments import data_type, mapping, text, thing_id, wrong
from penstock_executor.steps.consumption import consumption, written_if_any
from penstock_executor.steps.outcomes import Done, Outcome, Write
from penstock_executor.steps.specs import Call, StepSpec


@dataclass(frozen=True, slots=True)
class UpdateThing(Effect):
    """Change a thing."""

    data_type: DataType
    change: ThingChange
    viewer: Viewer = EVERYTHING

    @property
    def changed_type(self) -> DataType:
        """That of the thing."""
        return self.data_type

    @property
    def changed_row(self) -> str:
        """The thing's id."""
        return self.change.id

    def group(self) -> Group:
        """Things of one type."""
        return Group("update", self.data_type.name, id(self.data_type))

    @classmethod
    async def apply(cls, conn: Connection, environment: str, effects: Sequence[Self]) -> Sequence[JsonValue]:
        """The things as they are afterwards. Raises Permanent when one does not exist."""
        data_type = effects[0].data_type
        changes = sorted((effect.change for effect in effects), key=lambda change: change.id)
        things = await update_things(conn, environment=environment, data_type=data_type, changes=changes)
        found = [_require(things.get(effect.change.id), effect) for effect in effects]
        viewers = [effect.viewer for effect in effects]
        return list[JsonValue](await show_results(conn, environment, data_type, found, viewers))


def _require(thing: Thing | None, effect: UpdateThing) -> Thing:
    if thing is None:
        raise Permanent(
            f"there is no {effect.data_type.name} with the id {effect.change.id!r}; was it deleted?",
            kind="unknown_thing",
        )
    return thing


def update(call: Call) -> Outcome:
    """The thing after the change, null for an empty one. Raises Permanent for values that do not fit; the commit does
    if the thing is gone.
    """
    name = text(call, "type")
    if name is None:
        raise wrong(call, "the data type of the thing is not known here; add `type:` to the step")
    kind = data_type(call, name)
    id = thing_id(call, call.target)
    change = ThingChange(id or "", mapping(call, "set"), mapping(call, "add"), mapping(call, "remove"))
    check_values(kind, change.values)
    if id is None:
        return Done()
    return Write(UpdateThing(kind, change, call.viewer))


SPEC: Final = StepSpec(
    action=StepAction.UPDATE,
    target="a thing or its id",
    arguments=("type", "set", "add", "remove"),
    immediate=update,
    writes=(UpdateThing,),
    consumes=consumption(done=written_if_any),
)
