"""The fields of a data type: columns, built-in fields, the spellings clients may use, and constraints."""

import re
from collections.abc import Mapping
from typing import Final

from penstock.definitions.models import DataField, DataType, FieldType, ScalarType
from penstock.storable import REPLACEMENT, is_storable

MAX_IDENTIFIER_BYTES: Final = 63
BUILT_IN_FIELDS: Final = (
    DataField(name="_id", type=FieldType(ScalarType.TEXT), column="_id"),
    DataField(name="Created Date", type=FieldType(ScalarType.DATE), column="created_date"),
    DataField(name="Modified Date", type=FieldType(ScalarType.DATE), column="modified_date"),
    DataField(name="Created By", type=FieldType("user"), column="created_by"),
    DataField(name="Slug", type=FieldType(ScalarType.TEXT), column="slug"),
)
"""What every thing has, beside the fields of its type. Only the slug can be written."""
WRITABLE_BUILT_IN: Final = frozenset({"Slug"})
SYSTEM_COLUMNS: Final = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
"""PostgreSQL keeps these names for itself."""

_EVERY: Final = frozenset({"equals", "not equal", "is_empty", "is_not_empty", "in", "not in"})
_ORDERED: Final = frozenset({"greater than", "less than"})
_WORDS: Final = frozenset({"text contains", "not text contains"})
_PLACES: Final = frozenset({"geographic_search"})
_LISTS: Final = frozenset({"contains", "not contains", "empty", "not empty"})
WITHOUT_VALUE: Final = frozenset({"is_empty", "is_not_empty", "empty", "not empty"})
CONSTRAINT_TYPES: Final = _EVERY | _ORDERED | _WORDS | _LISTS | _PLACES
"""Those of Bubble's Data API."""

AGGREGATES: Final[Mapping[str, frozenset[str]]] = {
    "sum": frozenset({ScalarType.NUMBER}),
    "min": frozenset({ScalarType.NUMBER, ScalarType.DATE, ScalarType.TEXT}),
    "max": frozenset({ScalarType.NUMBER, ScalarType.DATE, ScalarType.TEXT}),
    "avg": frozenset({ScalarType.NUMBER}),
}
"""The functions that sum up a field of many things, and the types of field that each takes."""


def column_name(field: str) -> str:
    """The column of a field: lower case, and `_` for everything but ASCII letters, digits and `_`."""
    return re.sub(r"[^a-z0-9_]", "_", field.lower())


def find_field(data_type: DataType, key: str) -> DataField | None:
    """The field that a client means by `key`, built-in ones included: by name, else without case, spaces and signs,
    else by its internal id, such as `rooms_number`.
    """
    fields = (*data_type.fields, *BUILT_IN_FIELDS)
    exact = next((field for field in fields if field.name == key), None)
    if exact is not None or REPLACEMENT in key or not is_storable(key):
        return exact
    plain = _plain(key)
    by_name = next((field for field in fields if _plain(field.name) == plain), None)
    return by_name or next((field for field in fields if internal_field_id(field) == key.lower()), None)


def internal_field_id(data_field: DataField) -> str:
    """A field as Bubble itself calls it: `unit_name_text`, `tags_list_text`, `venue_custom_venue`,
    `state_option_status`; one that is built in has its name.
    """
    if data_field in BUILT_IN_FIELDS:
        return data_field.name
    options = data_field.type.options
    known = data_field.type.name in frozenset(ScalarType) or data_field.type.name == "user"
    name = data_field.type.name.replace(" ", "_") if known else f"custom_{data_field.type.name}"
    name = name if options is None else f"option_{options.name}"
    return f"{data_field.column}_{'list_' if data_field.type.is_list else ''}{name}"


def constraint_types(field_type: FieldType) -> frozenset[str]:
    """The constraint types that fit a field of this type; all of them for an unknown type."""
    if field_type.name == ScalarType.ANY:
        return CONSTRAINT_TYPES
    if field_type.is_list:
        return _EVERY | _LISTS
    if field_type.name == ScalarType.TEXT:
        return _EVERY | _ORDERED | _WORDS
    if field_type.name == ScalarType.ADDRESS:
        return _EVERY | _PLACES
    return _EVERY | _ORDERED if field_type.name in {ScalarType.NUMBER, ScalarType.DATE} else _EVERY


def misfit(data_field: DataField, function: str | None) -> str | None:
    """Why the field cannot be aggregated by this function (None: grouped by), for the author; None when it can."""
    kind = data_field.type
    if kind.name == ScalarType.ANY:
        return None
    if function is None:
        cannot = kind.is_list or kind.name == ScalarType.ADDRESS
        return f"things cannot be grouped by {data_field.name}, which is a {kind}" if cannot else None
    if kind.is_list or kind.name not in AGGREGATES[function]:
        return f"`{function}` needs a {' or '.join(sorted(AGGREGATES[function]))}, and {data_field.name} is a {kind}"
    return None


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum()) or name
