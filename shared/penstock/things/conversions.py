"""Columns whose field has got another type: which conversions lose no value, and how they are written in SQL.

A conversion that depends on the values, such as from text to number, fails as a whole for a value that does not fit.
"""

from collections.abc import Mapping
from typing import Final

from penstock.definitions.models import FieldType, ScalarType

_TIME: Final = "timestamp with time zone"
_ISO: Final = """to_char({c} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""
_CONVERSIONS: Final[Mapping[tuple[str, str], str]] = {
    ("text", "numeric"): "nullif(btrim({c}), '')::numeric",
    ("text", "boolean"): "nullif(btrim({c}), '')::boolean",
    ("text", _TIME): f"nullif(btrim({{c}}), '')::{_TIME}",
    ("numeric", "text"): "trim_scale({c})::text",
    ("boolean", "text"): "{c}::text",
    ("boolean", "numeric"): "{c}::integer::numeric",
    (_TIME, "text"): _ISO,
    (_TIME, "tstzrange"): "CASE WHEN {c} IS NOT NULL THEN tstzrange({c}, {c}, '[]') END",
    ("text[]", "numeric[]"): "{c}::numeric[]",
    ("text[]", "boolean[]"): "{c}::boolean[]",
    ("text[]", f"{_TIME}[]"): f"{{c}}::{_TIME}[]",
    ("numeric[]", "text[]"): "{c}::text[]",
    ("boolean[]", "text[]"): "{c}::text[]",
}
_TO_ADDRESS: Final = "CASE WHEN {c} <> '' THEN jsonb_build_object('address', {c}) END"


def convert(column: str, found: str, wanted: FieldType, sql: str) -> str | None:
    """SQL that gives `column`, quoted, of the type `found`, as the type `sql` of a field that is `wanted`; None where
    values would be lost, or have no counterpart.
    """
    template = _CONVERSIONS.get((found, sql))
    if template is None and found == "text" and wanted == FieldType(ScalarType.ADDRESS):
        template = _TO_ADDRESS
    if template is None and sql == f"{found}[]":
        template = "CASE WHEN {c} IS NOT NULL THEN ARRAY[{c}] END"
    return None if template is None else template.replace("{c}", column)
