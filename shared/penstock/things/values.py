"""The values of a thing on their way into its table: known fields only, in the form of their types; else Permanent says
what is wrong.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Final

from pydantic import JsonValue

from penstock.definitions.fields import BUILT_IN_FIELDS, WRITABLE_BUILT_IN
from penstock.definitions.models import DataField, DataType, ScalarType
from penstock.definitions.values import coerce_value
from penstock.errors import Permanent

MAX_UNIQUE_BYTES: Final = 2_400
"""Of the texts of a unique group together: an index of PostgreSQL takes 2,704 bytes a row."""
SLUG: Final = next(known for known in BUILT_IN_FIELDS if known.name == "Slug")
MAX_SLUG: Final = 250
_NOT_IN_SLUG: Final = re.compile(r"[\W_]+")
_WHOLE: Final = range(-(2**63), 2**64)
"""Integers that the JSON between us and PostgreSQL can carry."""


def check_values(data_type: DataType, values: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """`values`, by column, in the form that is stored. Raises Permanent for unknown fields and values that do not
    fit.
    """
    row: dict[str, JsonValue] = {}
    for name, value in values.items():
        known = writable_field(data_type, name)
        row[known.column] = _check(data_type, known, value)
    check_uniques(data_type, row)
    return row


def writable_field(data_type: DataType, name: str) -> DataField:
    """The field of exactly that name. Raises Permanent."""
    for known in data_type.fields:
        if known.name == name:
            return known
    if name in WRITABLE_BUILT_IN:
        return SLUG
    near = get_close_matches(name, [known.name for known in data_type.fields], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise Permanent(f"type {data_type.name!r} has no field {name!r} that can be written{hint}", kind="unknown_field")


def _check(data_type: DataType, known: DataField, value: JsonValue) -> JsonValue:
    if value is None:
        return None
    try:
        checked = coerce_value(known.type, value)
    except ValueError as error:
        raise Permanent(f"field {known.name!r} of type {data_type.name!r}: {error}", kind="invalid_value") from None
    if known is SLUG:
        return tidy_slug(checked)
    if known.type.name == ScalarType.NUMBER:
        checked = [_as_read(item) for item in checked] if isinstance(checked, list) else _as_read(checked)
    return None if checked == [] else checked


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
