"""Definitions, things and requests with everything a test does not care about filled in."""

from itertools import count
from typing import Any

from pydantic import JsonValue

from penstock.definitions.fields import column_name
from penstock.definitions.models import App, DataField, DataType, FieldType
from penstock.domain.ids import new_run_id
from penstock.domain.lineage import Lineage
from penstock.domain.states import Trigger
from penstock.runs.requests import CheckedRun, RunRequest
from penstock.things.records import NewThing

_NUMBERS = count(1)


def build_field_type(text: str) -> FieldType:
    """`list of number`, as type files write it."""
    return FieldType(text.removeprefix("list of "), text.startswith("list of "))


def build_type(name: str, fields: dict[str, str], *, unique: tuple[tuple[str, ...], ...] = ()) -> DataType:
    """A data type with `fields`, by name, as type files write them."""
    built = tuple(
        DataField(name=field, type=build_field_type(text), column=column_name(field)) for field, text in fields.items()
    )
    return DataType(name=name, fields=built, unique=unique)


def build_app(*types: DataType) -> App:
    """An app of nothing but data types."""
    return App(name="shop", types={data_type.name: data_type for data_type in types})


def build_thing(**values: JsonValue) -> NewThing:
    """A thing to be created, with an id of its own; later ones have greater ids."""
    return NewThing(f"1700000000000x{next(_NUMBERS):018d}", values)


def build_run(**over: Any) -> CheckedRun:
    """A root of a workflow without parameters, in development, where nothing is deployed; its id is new.

    `over` are fields of CheckedRun, RunRequest (`workflow`, `key`, …) and Lineage (`depth`, `parent_run_id`, …).
    """
    request = RunRequest(new_run_id(), "development", "loop", {}, Trigger.MESSAGE)
    return change_run(CheckedRun(request, version=0), **over)


def change_run(run: CheckedRun, **over: Any) -> CheckedRun:
    """The same with other values in these fields."""
    own = {name: over.pop(name) for name in CheckedRun._fields if name in over}
    lineage = {name: over.pop(name) for name in Lineage._fields if name in over}
    request = own.pop("request", run.request)
    if lineage:
        request = request._replace(lineage=request.lineage._replace(**lineage))
    return run._replace(**own, request=request._replace(**over))
