"""`create: TYPE`: a new thing, or with `upsert` perhaps one that exists already."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from pydantic import JsonValue

from penstock.db import Connection
from penstock.definitions.models import DataType, StepAction
from penstock.domain.ids import new_thing_id
from penstock.things.privacy import EVERYTHING, Viewer
from penstock.things.records import NewThing, create_things, insert_prepared, prepare_thing
from penstock_executor.effects import Effect, Group, Insertion, show_results
from penstock_executor.steps.arguments import data_type, mapping, target_text
from penstock_executor.steps.consumption import consumption, one_written
from penstock_executor.steps.outcomes import Outcome, Write
from penstock_executor.steps.specs import Call, StepSpec


class CreateThing(Insertion):
    """Create a thing."""

    __slots__ = ()

    @property
    def changed_type(self) -> DataType:
        """That of the thing."""
        return self.data_type

    def group(self) -> Group:
        """Things of one type."""
        return Group("create", self.data_type.name, id(self.data_type))

    @classmethod
    async def apply(cls, conn: Connection, environment: str, effects: Sequence[Self]) -> None:
        """No results: what was created is known before."""
        things = [effect.thing for effect in effects]
        await insert_prepared(conn, environment=environment, data_type=effects[0].data_type, things=things)


@dataclass(frozen=True, slots=True)
class UpsertThing(Effect):
    """Create a thing, or change the one that has the same values in the fields of `upsert`."""

    data_type: DataType
    thing: NewThing
    upsert: tuple[str, ...]
    viewer: Viewer = EVERYTHING

    @property
    def changed_type(self) -> DataType:
        """That of the thing."""
        return self.data_type

    def group(self) -> Group:
        """Things of one type, by the same fields."""
        return Group("upsert", self.data_type.name, id(self.data_type), self.upsert)

    @classmethod
    async def apply(cls, conn: Connection, environment: str, effects: Sequence[Self]) -> Sequence[JsonValue]:
        """The things as they are afterwards."""
        first, things = effects[0], [effect.thing for effect in effects]
        made = await create_things(
            conn, environment=environment, data_type=first.data_type, things=things, upsert=first.upsert
        )
        viewers = [effect.viewer for effect in effects]
        return list[JsonValue](await show_results(conn, environment, first.data_type, made, viewers))


def create(call: Call) -> Outcome:
    """The thing. Its id and dates are made here, so that later steps know it before it is committed."""
    kind = data_type(call, target_text(call))
    thing = NewThing(new_thing_id(), mapping(call, "set"), call.run.user_id, call.now)
    upsert = call.arguments.get("upsert")
    if isinstance(upsert, list) and upsert:
        return Write(UpsertThing(kind, thing, tuple(str(name) for name in upsert), call.viewer))
    prepared = prepare_thing(kind, thing)
    return Write(CreateThing(kind, prepared), prepared.shown, is_known=True)


SPEC: Final = StepSpec(
    action=StepAction.CREATE,
    target="the name of a data type",
    arguments=("set", "upsert"),
    immediate=create,
    is_brief=True,
    writes=(CreateThing, UpsertThing),
    consumes=consumption(done=one_written),
)
