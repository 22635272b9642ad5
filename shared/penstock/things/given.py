"""Whether the things that runs are given are there: one query for each data type, however many runs, and none for those
that are given no thing.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from penstock.db import Connection, UndefinedTable
from penstock.definitions.models import App, Parameter, Workflow
from penstock.errors import StaleDefinitions
from penstock.things.records import find_missing

Values = Mapping[str, JsonValue]


class Absent(NamedTuple):
    """The first parameter with an id that names nothing, and which item of it if it is a list."""

    parameter: Parameter
    item: int

    @property
    def message(self) -> str:
        """What is wrong, in Bubble's words."""
        where = f"item {self.item}: " if self.parameter.type.is_list else ""
        return (
            f"Invalid value for parameter {self.parameter.name}: {where}there is no {self.parameter.type.name} with "
            "this id"
        )


def has_things(workflow: Workflow, values: Values) -> bool:
    """Whether any of these values names a thing."""
    return any(known.type.is_thing and values.get(known.name) for known in workflow.parameters)


async def find_absent(
    conn: Connection, *, environment: str, app: App, given: Sequence[tuple[Workflow, Values]]
) -> list[Absent | None]:
    """What is not there, for each workflow and its values; None where all is. Things may be deleted a moment later, so
    no run can rely on it. Raises StaleDefinitions where the app has lost a type meanwhile.
    """
    ids: defaultdict[str, set[str]] = defaultdict(set)
    for workflow, values in given:
        for known, _, id in _list_ids(workflow, values):
            ids[known.type.name].add(id)
    try:
        missing = {
            name: await find_missing(conn, environment=environment, data_type=app.types[name], ids=sorted(of_type))
            for name, of_type in ids.items()
        }
    except UndefinedTable:
        raise StaleDefinitions("a data type may have been removed since") from None
    return [
        next(
            (Absent(known, index) for known, index, id in _list_ids(*one) if id in missing[known.type.name]),
            None,
        )
        for one in given
    ]


def _list_ids(workflow: Workflow, values: Values) -> Iterator[tuple[Parameter, int, str]]:
    for known in workflow.parameters:
        if known.type.is_thing:
            value = values.get(known.name)
            for index, item in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(item, str) and item:
                    yield known, index, item
