"""Single constraints as SQL: `{key, constraint_type, value}`, of a search as of a privacy rule.

Names only ever become columns of the type, values only ever parameters (as text, cast to the column's type by
PostgreSQL). Values may come as strings, as Bubble's clients send them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from pydantic import JsonValue

from penstock import exact_json
from penstock.db import quote_identifier
from penstock.definitions.fields import (
    CONSTRAINT_TYPES,
    WITHOUT_VALUE,
    constraint_types,
    find_field,
    internal_field_id,
)
from penstock.definitions.models import DataField, DataType, FieldType, ScalarType
from penstock.definitions.values import ValueSource, coerce_value
from penstock.errors import Permanent
from penstock.things.geography import OutOfPlace, distance_sql, read_area, vicinity_sql
from penstock.things.tables import sql_type
from penstock.things.words import words_sql

_TEXT: Final = FieldType(ScalarType.TEXT)


class ConstraintProblem(Permanent):
    """A constraint that cannot be applied. `status` and the text are what Bubble's Data API answers."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message, kind="constraint")
        self.status = status


@dataclass(slots=True)
class Condition:
    """SQL with numbered parameters; grows as conditions are added. `arguments` are texts, lists of texts, or
    integers.
    """

    arguments: list[object] = field(default_factory=list)
    clauses: list[str] = field(default_factory=list)

    def bind(self, value: object) -> str:
        """`$n` for `value`."""
        self.arguments.append(value)
        return f"${len(self.arguments)}"

    @property
    def sql(self) -> str:
        """All clauses joined by AND; `true` when there is none."""
        return " AND ".join(self.clauses) or "true"


@dataclass(frozen=True, slots=True)
class Constraint:
    """What is demanded of one field."""

    key: str
    kind: str
    value: JsonValue = None


def find_constrained(data_type: DataType, key: str) -> DataField:
    """The field that `key` means. Raises ConstraintProblem."""
    found = find_field(data_type, key)
    if found is None:
        near = get_close_matches(key, [known.name for known in data_type.fields], n=1)
        raise ConstraintProblem(f"Unrecognized field: {key}" + (f" (did you mean {near[0]}?)" if near else ""))
    return found


def compile_constraint(condition: Condition, data_type: DataType, found: DataField, constraint: Constraint) -> str:
    """SQL that holds for the things of `data_type` that meet a constraint on the field `found`. Raises
    ConstraintProblem.
    """
    kind, value = constraint.kind, constraint.value
    if kind not in CONSTRAINT_TYPES or kind not in constraint_types(found.type):
        message = f"Constraint type not found {kind} for field {internal_field_id(found)} and type {data_type.name}"
        raise ConstraintProblem(message, status=404)
    if value is None and kind not in WITHOUT_VALUE:
        kind = {"equals": "is_empty", "not equal": "is_not_empty"}.get(kind, kind)
        if kind not in WITHOUT_VALUE:
            raise ConstraintProblem(f"constraint {kind!r} on {found.name} needs a value")
    return _CLAUSES[kind](condition, found, value)


def to_parameter(data_field: DataField, value: JsonValue) -> str:
    """`value` as the text that PostgreSQL casts to the field's type. Raises ConstraintProblem."""
    try:
        # An id that no thing has, whatever its form, simply matches nothing.
        is_id = data_field.type.is_thing and isinstance(value, str)
        coerced = coerce_value(_TEXT if is_id else data_field.type, value, source=ValueSource.TEXT)
    except ValueError as error:
        raise ConstraintProblem(f"the value for {data_field.name} does not fit: {error}") from None
    return coerced if isinstance(coerced, str) else exact_json.dumps(coerced).decode()


def _cast(condition: Condition, data_field: DataField, value: JsonValue) -> str:
    if data_field.type.is_list and sql_type(data_field.type) == "jsonb":
        return f"{condition.bind(to_parameter(data_field, value if isinstance(value, list) else [value]))}::text::jsonb"
    if data_field.type.is_list:
        return _cast_many(condition, data_field, value)
    return f"{condition.bind(to_parameter(data_field, value))}::text::{sql_type(data_field.type)}"


def _cast_many(condition: Condition, data_field: DataField, value: JsonValue) -> str:
    items = value if isinstance(value, list) else [value]
    element = DataField(name=data_field.name, type=FieldType(data_field.type.name), column=data_field.column)
    return f"{condition.bind([to_parameter(element, item) for item in items])}::text[]::{sql_type(element.type)}[]"


def _column(data_field: DataField) -> str:
    return quote_identifier(data_field.column)


def _compare(operator: str) -> Callable[[Condition, DataField, JsonValue], str]:
    def clause(condition: Condition, data_field: DataField, value: JsonValue) -> str:
        return f"({_column(data_field)} {operator} {_cast(condition, data_field, value)})"

    return clause


def _equals(condition: Condition, data_field: DataField, value: JsonValue) -> str:
    return _is_empty(condition, data_field, value) if value == [] else _compare("=")(condition, data_field, value)


def _differs(condition: Condition, data_field: DataField, value: JsonValue) -> str:
    return f"{_equals(condition, data_field, value)} IS NOT TRUE"


def _among(condition: Condition, data_field: DataField, value: JsonValue) -> str:
    if data_field.type.is_list:  # one of several lists; an item that is not a list is taken for a list of one
        wanted = [_equals(condition, data_field, item) for item in (value if isinstance(value, list) else [value])]
        return f"({' OR '.join(wanted) or 'false'})"
    return f"({_column(data_field)} = ANY ({_cast_many(condition, data_field, value)}))"


def _not_among(condition: Condition, data_field: DataField, value: JsonValue) -> str:
    return f"{_among(condition, data_field, value)} IS NOT TRUE"


def _has_words(condition: Condition, data_field: DataField, value: JsonValue) -> str:
    # Words, stemmed, without stop words: `pepper` finds "peppers", `pepp` does not.
    words = f"{condition.bind(to_parameter(data_field, value))}::text"
    return f"({words_sql(data_field)} @@ plainto_tsquery('english', {words}))"


def _lacks_words(condition: Condition, data_field: DataField, value: JsonValue) -> str:
    return f"{_has_words(condition, data_field, value)} IS NOT TRUE"


def _holds(condition: Condition, data_field: DataField, value: JsonValue) -> str:
    if sql_type(data_field.type) == "jsonb":
        raise ConstraintProblem(f"lists of addresses, such as {data_field.name}, cannot be searched for an item")
    return f"({_column(data_field)} @> {_cast_many(condition, data_field, value)})"


def _lacks(condition: Condition, data_field: DataField, value: JsonValue) -> str:
    return f"{_holds(condition, data_field, value)} IS NOT TRUE"


def _is_empty(_: Condition, data_field: DataField, __: JsonValue) -> str:
    column = _column(data_field)
    if sql_type(data_field.type) == "jsonb":
        return f"({column} IS NULL OR {column} = '[]'::jsonb)"
    if data_field.type.is_list:
        return f"(coalesce(cardinality({column}), 0) = 0)"
    return f"({column} IS NULL OR {column} = '')" if sql_type(data_field.type) == "text" else f"({column} IS NULL)"


def _is_not_empty(condition: Condition, data_field: DataField, value: JsonValue) -> str:
    return f"(NOT {_is_empty(condition, data_field, value)})"


def _is_near(condition: Condition, data_field: DataField, value: JsonValue) -> str:
    try:
        origin, metres = read_area(value)
    except OutOfPlace as error:
        raise ConstraintProblem(f"the value for {data_field.name} does not fit: {error}") from None
    # What is roughly near is found by an index, and what is near of that by its exact distance.
    exactly = f"{distance_sql(condition, data_field, origin)} <= {condition.bind(str(metres))}::text::float8"
    roughly = vicinity_sql(condition, data_field, origin, metres)
    return f"({exactly})" if roughly is None else f"({roughly} AND {exactly})"


_CLAUSES: Final[Mapping[str, Callable[[Condition, DataField, JsonValue], str]]] = {
    "equals": _equals,
    "not equal": _differs,
    "greater than": _compare(">"),
    "less than": _compare("<"),
    "in": _among,
    "not in": _not_among,
    "text contains": _has_words,
    "not text contains": _lacks_words,
    "contains": _holds,
    "not contains": _lacks,
    "is_empty": _is_empty,
    "empty": _is_empty,
    "is_not_empty": _is_not_empty,
    "not empty": _is_not_empty,
    "geographic_search": _is_near,
}
