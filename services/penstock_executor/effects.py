"""What a step changes in the database. Each kind of effect stands beside its action and defines how it is grouped and
applied; `writing` knows only what is declared here.

An effect commits in the same transaction as the record that its step was performed. Most effects are grouped: those of
many runs are carried out by one statement (`Effect`). One on many things takes as long as there are things, so it has a
transaction of its own, in which the run's row is locked last (`BulkEffect`).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

from pydantic import JsonValue

from penstock.db import Connection
from penstock.definitions.models import DataType
from penstock.domain.runs import RunSummary
from penstock.domain.states import Termination
from penstock.things.privacy import Viewer
from penstock.things.records import PreparedThing, Thing, show_things


class Group(NamedTuple):
    """What effects that share one statement have in common. Groups are applied in the order of their values.

    `version` distinguishes two versions of one data type; `fields` are those of an upsert.
    """

    kind: str
    table: str = ""
    version: int = 0
    fields: tuple[str, ...] = ()


class Effect(ABC):
    """A change that is carried out together with others of its group."""

    __slots__ = ()

    is_alone: ClassVar[bool] = False
    """It may be large, so no other run's commit should wait for it: it has a transaction of its own."""

    @property
    def insertion(self) -> "Insertion | None":
        """This effect, when it is nothing but a new thing."""
        return None

    @property
    def changed_type(self) -> DataType | None:
        """The data type of which a thing is created, changed or deleted."""
        return None

    @property
    def changed_row(self) -> str | None:
        """The row that is changed. A statement changes a row once; a second change waits for the next statement."""
        return None

    @property
    def cancelled(self) -> Sequence[RunSummary]:
        """The runs that were cancelled, once the effect was carried out."""
        return ()

    @property
    def observed(self) -> Termination | None:
        """Why the step would have failed where depth is not only observed, once the effect was carried out."""
        return None

    @abstractmethod
    def group(self) -> Group:
        """What this effect has in common with those it can be carried out with."""

    @classmethod
    @abstractmethod
    async def apply(cls, conn: Connection, environment: str, effects: Sequence[Self]) -> Sequence[JsonValue] | None:
        """Carry out the effects of one group; their results in the same order, or None when such effects have none.

        Raises Permanent or UniqueViolation when one of them cannot be carried out.
        """


@dataclass(slots=True)  # not frozen, which costs five times as much: each run or request makes some
class Insertion(Effect):
    """A new thing, which the statement that ends its run may create as well."""

    data_type: DataType
    thing: PreparedThing

    @property
    def insertion(self) -> Self:
        """Itself."""
        return self


async def show_results(
    conn: Connection, environment: str, data_type: DataType, things: Sequence[Thing], viewers: Sequence[Viewer]
) -> list[Thing]:
    """Things as they are after an effect, each as far as the viewer of its run may see it."""
    shown = list(things)
    bound = {id(viewer): viewer for viewer in viewers if viewer.is_bound(data_type)}
    for viewer in bound.values():
        positions = [position for position, other in enumerate(viewers) if other is viewer]
        own = await show_things(
            conn,
            environment=environment,
            data_type=data_type,
            things=[things[position] for position in positions],
            viewer=viewer,
        )
        for position, thing in zip(positions, own, strict=True):
            shown[position] = thing
    return shown


class BulkEffect(ABC):
    """A change of many things. It has to be done by `until`, on the loop's clock."""

    __slots__ = ()

    insertion: ClassVar[None] = None
    """It is more than a new thing."""
    until: float

    @abstractmethod
    async def apply(self, conn: Connection, environment: str, seconds: float) -> JsonValue:
        """Carry it out; its result. Raises TimeoutError when it takes longer than `seconds`."""
