"""A thing as JSON: the SQL that makes it of a row, and the same form made of values that were just written."""

from collections.abc import Callable, Mapping
from typing import Final

from pydantic import JsonValue

from penstock.db import quote_identifier
from penstock.definitions.derived import derived_once
from penstock.definitions.fields import BUILT_IN_FIELDS
from penstock.definitions.models import DataField, DataType, ScalarType
from penstock.expressions.language import tidy

_DATE_FORMAT: Final = """'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'"""
_DOLLAR: Final = "' || chr(36) || '"
_MAX_PARTS: Final = 40
"""Of one jsonb_build_object; a function takes at most a hundred arguments, two for each part."""

Mask = Callable[[DataField, str], str]
"""Makes of SQL that gives a field SQL that gives null where the field is hidden."""


def _bare(_: DataField, value: str) -> str:
    return value


def json_of(data_type: DataType, mask: Mask = _bare) -> str:
    """SQL that gives a row `t` of the type's table as the JSON of a thing; `read_thing` makes a thing of it. `mask`
    hides fields.
    """
    fields = (*BUILT_IN_FIELDS, *data_type.fields)
    parts = [f"{literal(known.name)}, {mask(known, _value_of(known))}" for known in fields]
    objects = [
        f"jsonb_build_object({', '.join(parts[first : first + _MAX_PARTS])})"
        for first in range(0, len(parts), _MAX_PARTS)
    ]
    return f"jsonb_strip_nulls({' || '.join(objects)})"


def read_thing(data_type: DataType, thing: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """What `json_of` gave, with its numbers as they are everywhere: whole ones integers, beyond 64 bits floats.

    PostgreSQL keeps the scale that a number in a list was written with, and writes all digits of a large one.
    """
    for known in data_type.fields:
        if known.type.name == ScalarType.NUMBER and known.name in thing:
            value = thing[known.name]
            thing[known.name] = [_to_double(item) for item in value] if isinstance(value, list) else _to_double(value)
    return thing


def _to_double(value: JsonValue) -> JsonValue:
    if type(value) is int:
        return value if -(2**63) <= value < 2**64 else float(value)
    return tidy(float(value)) if isinstance(value, float) else value


def render_thing(
    data_type: DataType, *, id: str, row: Mapping[str, JsonValue], created_by: str | None, moment: str
) -> dict[str, JsonValue]:
    """A thing created at `moment` with the values `row`, by column, without asking the database for what is known."""
    thing: dict[str, JsonValue] = {"_id": id, "Created Date": moment, "Modified Date": moment}
    if created_by is not None:
        thing["Created By"] = created_by
    for name, column in _written_fields(data_type):
        value = row.get(column)
        if value is not None:
            thing[name] = value
    return thing


@derived_once
def _written_fields(data_type: DataType) -> tuple[tuple[str, str], ...]:
    """Name and column of each field that can be written, in the order in which a thing has them."""
    return tuple((known.name, known.column) for known in (BUILT_IN_FIELDS[-1], *data_type.fields))


def text_of(known: DataField, mask: Mask = _bare) -> str:
    """SQL that gives the field of a row `t` as text, as it stands in a cell of a table: lists and addresses as JSON."""
    value = mask(known, _value_of(known))
    is_written_as_json = known.type.is_list or is_json(known) or known.type.name == ScalarType.DATE_RANGE
    return f"to_jsonb({value})::text" if is_written_as_json else f"({value})::text"


def _value_of(known: DataField) -> str:
    column = f"t.{quote_identifier(known.column)}"
    if known.type.is_list and known.type.name == ScalarType.DATE:
        written = scalar_sql("d.item", known.type.name)
        return (
            f"(SELECT jsonb_agg({written} ORDER BY d.place) FROM unnest({column}) WITH ORDINALITY AS d (item, place))"
        )
    if known.type.is_list and not is_json(known):
        # An empty list is an empty field, no matter who wrote it.
        return f"CASE WHEN cardinality({column}) > 0 THEN {column} END"
    return column if known.type.is_list else scalar_sql(column, known.type.name)


def scalar_sql(expression: str, type_name: str) -> str:
    """SQL that gives `expression`, a single value of that type, in the form it has in JSON."""
    if type_name == ScalarType.DATE:
        return f"to_char({expression} AT TIME ZONE 'UTC', {_DATE_FORMAT})"
    if type_name == ScalarType.DATE_RANGE:
        ends = (scalar_sql(f"{end}({expression})", ScalarType.DATE) for end in ("lower", "upper"))
        return f"CASE WHEN {expression} IS NOT NULL THEN jsonb_build_array({', '.join(ends)}) END"
    return f"trim_scale({expression})" if type_name == ScalarType.NUMBER else expression


def is_json(known: DataField) -> bool:
    """Whether the field's column is jsonb: addresses, lists of them, and lists of date ranges."""
    name = known.type.name
    return name in {ScalarType.ADDRESS, ScalarType.ANY} or (name == ScalarType.DATE_RANGE and known.type.is_list)


def literal(text: str) -> str:
    """`text` as an SQL literal: names of fields as they stand in JSON, which no statement can take as parameters.

    Without a dollar sign in it, because the driver puts the arguments of a COPY into its text wherever it finds `$1`.
    """
    quoted = "'" + text.replace("'", "''") + "'"
    return f"({quoted.replace('$', _DOLLAR)})" if "$" in quoted else quoted
