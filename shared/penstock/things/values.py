"""The values of a thing on their way into its table: known fields only, in the form of their types; else Permanent says
what is wrong.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Final, NamedTuple

from pydantic import JsonValue

from penstock.definitions.derived import derived_once
from penstock.definitions.fields import BUILT_IN_FIELDS, WRITABLE_BUILT_IN
from penstock.definitions.models import DataField, DataType, ScalarType
from penstock.definitions.values import compile_coercion
from penstock.errors import Permanent

MAX_UNIQUE_BYTES: Final = 2_400
"""Of the texts of a unique group together: an index of PostgreSQL takes 2,704 bytes a row."""
SLUG: Final = next(known for known in BUILT_IN_FIELDS if known.name == "Slug")
MAX_SLUG: Final = 250
_NOT_IN_SLUG: Final = re.compile(r"[\W_]+")
_WHOLE: Final = range(-(2**63), 2**64)
"""Integers that the JSON between us and PostgreSQL can carry."""
_Convert = Callable[[JsonValue], JsonValue]


class _Check(NamedTuple):
    """How a value comes into the column of its field. `coerce` raises ValueError; `finish` is None where there is
    nothing left to do.
    """

    column: str
    coerce: _Convert
    finish: _Convert | None


def check_values(data_type: DataType, values: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """`values`, by column, in the form that is stored. Raises Permanent for unknown fields and values that do not
    fit.
    """
    checks = _checks_of(data_type)
    row: dict[str, JsonValue] = {}
    for name, value in values.items():
        check = checks.get(name)
        if check is None:
            raise _unknown_field(data_type, name)
        if value is None:
            row[check.column] = None
            continue
        try:
            checked = check.coerce(value)
        except ValueError as error:
            raise Permanent(f"field {name!r} of type {data_type.name!r}: {error}", kind="invalid_value") from None
        row[check.column] = checked if check.finish is None else check.finish(checked)
    if data_type.unique:
        check_uniques(data_type, row)
    return row


@derived_once
def _checks_of(data_type: DataType) -> dict[str, _Check]:
    """The checks of a type, by the names of the fields that can be written."""
    fields = [*(known for known in BUILT_IN_FIELDS if known.name in WRITABLE_BUILT_IN), *reversed(data_type.fields)]
    return {known.name: _compile_check(known) for known in fields}


def _compile_check(known: DataField) -> _Check:
    return _Check(known.column, compile_coercion(known.type), _find_finish(known))


def _find_finish(known: DataField) -> _Convert | None:
    """What is done with a value that has the form of its type. A list of nothing is an empty field."""
    is_number = known.type.name == ScalarType.NUMBER
    if known is SLUG:
        return tidy_slug
    if known.type.is_list:
        return _tidy_numbers if is_number else _tidy_items
    if is_number:
        return _as_read
    return _tidy_items if known.type.name == ScalarType.ANY else None


def _tidy_items(checked: JsonValue) -> JsonValue:
    return None if checked == [] else checked


def _tidy_numbers(checked: JsonValue) -> JsonValue:
    assert isinstance(checked, list)
    return [_as_read(item) for item in checked] or None


def writable_field(data_type: DataType, name: str) -> DataField:
    """The field of exactly that name. Raises Permanent."""
    for known in data_type.fields:
        if known.name == name:
            return known
    if name in WRITABLE_BUILT_IN:
        return SLUG
    raise _unknown_field(data_type, name)


def _unknown_field(data_type: DataType, name: str) -> Permanent:
    near = get_close_matches(name, [known.name for known in data_type.fields], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return Permanent(f"type {data_type.name!r} has no field {name!r} that can be written{hint}", kind="unknown_field")


def tidy_slug(text: JsonValue) -> str | None:
    """A slug as Bubble keeps it: lower-case letters of any script, digits and hyphens; None when nothing is left.

    Raises Permanent for 250 characters and more.
    """
    slug = _NOT_IN_SLUG.sub("-", str(text).lower()).strip("-")
    if len(slug) >= MAX_SLUG:
        raise Permanent(f"a slug has fewer than {MAX_SLUG} characters, not {len(slug)}", kind="invalid_value")
    return slug or None


def _as_read(number: JsonValue) -> JsonValue:
    """A number as it will be read back: PostgreSQL keeps the digits as written, so a whole one comes back as an integer
    if it fits.
    """
    if not isinstance(number, float) or not number.is_integer():
        return number
    whole = int(Decimal(repr(number)))
    return whole if whole in _WHOLE else number


def may_exist(id: str) -> bool:
    """Ids are plain; PostgreSQL would not even take some others as a parameter."""
    return id.isascii() and id.isprintable()


def check_uniques(data_type: DataType, row: Mapping[str, JsonValue]) -> None:
    """Raises Permanent for a row, by column, with a text that is too long to be unique."""
    if not data_type.unique:
        return
    column_of = {known.name: known.column for known in (*BUILT_IN_FIELDS, *data_type.fields)}
    for group in data_type.unique:
        texts = {name: value for name in group if isinstance(value := row.get(column_of[name]), str)}
        for name, text in texts.items():
            if len(text.encode()) > MAX_UNIQUE_BYTES // len(group):
                raise Permanent(
                    f"field {name!r} of type {data_type.name!r} is unique, so it holds at most "
                    f"{MAX_UNIQUE_BYTES // len(group)} bytes,"
                    f" not {len(text.encode())}",
                    kind="invalid_value",
                )
