"""Exports: all things that meet a condition as CSV or JSON lines, streamed by one statement that PostgreSQL itself
writes out.
"""

import csv
import io
from collections.abc import Callable, Coroutine
from typing import Final

from penstock.db import Database
from penstock.definitions.fields import BUILT_IN_FIELDS
from penstock.definitions.models import DataType
from penstock.things.constraints import Where, compile_where
from penstock.things.json import json_of, text_of
from penstock.things.tables import qualified_table
from penstock.things.tabular import Format

CONTENT_TYPES: Final[dict[Format, str]] = {"csv": "text/csv", "jsonl": "application/jsonl"}
_NEVER_IN_JSON: Final = ("\x01", "\x02")
"""As quote and delimiter they leave JSON as it is: it writes control characters as escapes."""


async def export_things(
    database: Database,
    *,
    environment: str,
    data_type: DataType,
    where: Where,
    format: Format,
    write: Callable[[bytes], Coroutine[object, object, None]],
    seconds: float,
) -> int:
    """Hand the things that meet `where` to `write`, piece by piece, the oldest first; returns how many there were.

    They are those of one moment. CSV has a first line with the names of all fields, built-in ones first; lists and
    addresses are JSON, empty fields are empty. Waits for `write`, so no more than a few pieces are in memory. `seconds`
    limits the whole of it. Raises ConstraintProblem, DatabaseUnavailable, and what `write` raises.
    """
    condition = compile_where(data_type, where)
    fields = (*BUILT_IN_FIELDS, *data_type.fields)
    shown = ", ".join(text_of(known) for known in fields) if format == "csv" else f"{json_of(data_type)}::text"
    quote, delimiter = ('"', ",") if format == "csv" else _NEVER_IN_JSON
    if format == "csv":
        await write(_header([known.name for known in fields]))
    async with database.connection() as conn:
        status = await conn.copy_from_query(
            f"""
            SELECT {shown} FROM {qualified_table(environment, data_type.name)} t
            WHERE {condition.sql}
            ORDER BY t."created_date", t."_id"
            """,
            *condition.arguments,
            output=write,
            format="csv",
            quote=quote,
            delimiter=delimiter,
            timeout=seconds,
        )
    return int(status.rsplit(maxsplit=1)[-1])


def _header(names: list[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(names)
    return line.getvalue().encode()
