"""Exports: all things that meet a condition as CSV or JSON lines, streamed by one statement that PostgreSQL itself
writes out.
"""

import csv
import io
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Final

from penstock.db import Database
from penstock.definitions.fields import BUILT_IN_FIELDS
from penstock.definitions.models import DataField, DataType, ScalarType
from penstock.things.constraints import Where, compile_where
from penstock.things.json import Mask, is_json, json_of, text_of
from penstock.things.ordering import CREATED
from penstock.things.privacy import ALWAYS
from penstock.things.tables import qualified_table
from penstock.things.tabular import FORMULA_STARTS, Format, guard_cell

CONTENT_TYPES: Final[dict[Format, str]] = {"csv": "text/csv", "jsonl": "application/jsonl"}
_HARMLESS: Final = frozenset({ScalarType.NUMBER, ScalarType.BOOLEAN, ScalarType.DATE})
_FORMULA: Final = f"'^''*[{FORMULA_STARTS}]'"
_NEVER_IN_JSON: Final = ("\x01", "\x02")
"""As quote and delimiter they leave JSON as it is: it writes control characters as escapes."""


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What is exported: the things of a type that meet `where`, in a format.

    `is_raw`: cells of CSV are the texts themselves, also where a spreadsheet would run them as a formula.
    """

    environment: str
    data_type: DataType
    format: Format
    where: Where = None
    is_raw: bool = False


async def export_things(
    database: Database,
    request: ExportRequest,
    *,
    write: Callable[[bytes], Coroutine[object, object, None]],
    seconds: float,
) -> int:
    """Hand the things that are asked for to `write`, piece by piece, the oldest first; returns how many there were.

    They are those of one moment. CSV has a first line with the names of all fields, built-in ones first; lists and
    addresses are JSON, empty fields are empty. Waits for `write`, so no more than a few pieces are in memory. `seconds`
    limits the whole of it. Raises ConstraintProblem, DatabaseUnavailable, and what `write` raises.
    """
    data_type, is_csv = request.data_type, request.format == "csv"
    search = compile_where(data_type, request.where)
    mask = _show_all if search.guards is None else search.guards.masked
    fields = (*BUILT_IN_FIELDS, *data_type.fields)
    cells = ", ".join(text_of(known, mask) if request.is_raw else _guarded(known, mask) for known in fields)
    shown = cells if is_csv else f"{json_of(data_type, mask)}::text"
    # Where the date is hidden, the order must not show it.
    age = 't."created_date", ' if search.guards is None or search.guards.sees(CREATED) == ALWAYS else ""
    quote, delimiter = ('"', ",") if is_csv else _NEVER_IN_JSON
    if is_csv:
        await write(_header([known.name if request.is_raw else guard_cell(known.name) for known in fields]))
    async with database.connection() as conn:
        status = await conn.copy_from_query(
            f"""
            SELECT {shown} FROM {qualified_table(request.environment, data_type.name)} t
            WHERE {search.sql}
            ORDER BY {age}t."_id"
            """,
            *search.arguments,
            output=write,
            format="csv",
            quote=quote,
            delimiter=delimiter,
            timeout=seconds,
        )
    return int(status.rsplit(maxsplit=1)[-1])


def _show_all(_: DataField, value: str) -> str:
    return value


def _guarded(known: DataField, mask: Mask) -> str:
    """SQL that gives the field as the text of a cell, as `guard_cell` makes it.

    Numbers and times begin no formula, and with an apostrophe they would not be numbers and times to a spreadsheet.
    """
    text = text_of(known, mask)
    if known.type.is_list or is_json(known) or known.type.name in _HARMLESS:
        return text
    return f"CASE WHEN {text} ~ {_FORMULA} THEN chr(39) || {text} ELSE {text} END"


def _header(names: list[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(names)
    return line.getvalue().encode()
