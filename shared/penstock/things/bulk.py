"""Many things at once: created, changed, deleted and summed up by one statement for all of them, never thing by thing.

`seconds` is how long a statement may take; TimeoutError says that it took longer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from penstock.db import Connection, quote_identifier
from penstock.definitions.fields import find_field, misfit
from penstock.definitions.models import DataField, DataType, ScalarType
from penstock.things.clauses import ConstraintProblem
from penstock.things.constraints import Search, Where, compile_where
from penstock.things.json import literal, scalar_sql
from penstock.things.records import NewThing, to_record
from penstock.things.statements import insert_statement
from penstock.things.tables import qualified_table
from penstock.things.values import check_values

Row = dict[str, JsonValue]
BATCH: Final = 5_000
"""Things that one statement inserts: beyond it nothing gets faster, and the parameter only gets larger."""
MAX_GROUPS: Final = 10_000
_MAX_MEMBERS: Final = 40
_RECORD_COLUMNS: Final = frozenset({"_id", "created_by", "created_date"})
_NOW: Final = "(SELECT date_trunc('milliseconds', clock_timestamp()))"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What is wanted of each group of things: `functions` are (sum, min, max or avg; name of a field); groups are made
    by fields.
    """

    functions: tuple[tuple[str, str], ...] = ()
    by: tuple[str, ...] = ()


def prepare_row(data_type: DataType, thing: NewThing) -> Row:
    """A new thing as it is written by `insert_rows`. Raises Permanent for values that do not fit."""
    return to_record(thing, check_values(data_type, thing.values))


async def insert_rows(
    conn: Connection, *, environment: str, data_type: DataType, rows: Sequence[Row], seconds: float
) -> None:
    """Create things that `prepare_row` made. Raises UniqueViolation."""
    for first in range(0, len(rows), BATCH):
        batch = rows[first : first + BATCH]
        columns = sorted({column for row in batch for column in row} - _RECORD_COLUMNS)
        await conn.execute(insert_statement(environment, data_type, columns), batch, timeout=seconds)


async def update_matching(
    conn: Connection,
    *,
    environment: str,
    data_type: DataType,
    where: Where,
    values: Mapping[str, JsonValue],
    seconds: float,
) -> int:
    """Set the same values (null clears) in all things that meet `where`; returns how many there were.

    Raises UniqueViolation, and Permanent for values and constraints that do not fit.
    """
    row, condition = check_values(data_type, values), compile_where(data_type, where)
    target = qualified_table(environment, data_type.name)
    changes = f'"modified_date" = {_NOW}'
    if row:
        columns = [quote_identifier(column) for column in row]
        given = (
            f"SELECT {', '.join(f's.{name}' for name in columns)} FROM jsonb_populate_record(NULL::{target}, "
            f"{condition.bind(row)}) s"
        )
        changes += f", ({', '.join(columns)}) = ({given})"
    status = await conn.execute(
        f"UPDATE {target} t SET {changes} WHERE {condition.sql}", *condition.arguments, timeout=seconds
    )
    return _count(status)


async def delete_matching(
    conn: Connection, *, environment: str, data_type: DataType, where: Where, seconds: float
) -> int:
    """Delete all things that meet `where`; returns how many there were. Raises ConstraintProblem."""
    condition = compile_where(data_type, where)
    statement = f"DELETE FROM {qualified_table(environment, data_type.name)} t WHERE {condition.sql}"
    return _count(await conn.execute(statement, *condition.arguments, timeout=seconds))


async def aggregate_things(
    conn: Connection, *, environment: str, data_type: DataType, where: Where, aggregate: Aggregate, seconds: float
) -> list[Row]:
    """A row for each group of the things that meet `where`, sorted by the fields that make the groups, empty values
    last.

    A row is `{<field>: …, "count": 3, "sum_total": 30, …}`: the fields by name, `count`, and each function with the
    column of its field. Without `by` there is one row, of all things. Raises ConstraintProblem for fields that do not
    fit, and for more than MAX_GROUPS rows.
    """
    condition = compile_where(data_type, where)
    by = [_find(data_type, name, None) for name in aggregate.by]
    functions = [(function, _find(data_type, name, function)) for function, name in aggregate.functions]
    columns = [_value(condition, data_type, known) for known in by]
    members = [(known.name, column, known.type.name) for known, column in zip(by, columns, strict=True)]
    members.append(("count", "count(*)", ScalarType.BOOLEAN))
    members += [
        (f"{function}_{known.column}", _call(function, _value(condition, data_type, known)), known.type.name)
        for function, known in functions
    ]
    _check_members([name for name, _, _ in members])
    groups = ", ".join(columns)
    object_ = ", ".join(f"{literal(name)}, {scalar_sql(expression, kind)}" for name, expression, kind in members)
    rows = await conn.fetch(
        f"""
        SELECT jsonb_build_object({object_}) AS members
        FROM {qualified_table(environment, data_type.name)} t
        WHERE {condition.sql}
        {f"GROUP BY {groups} ORDER BY {groups}" if by else ""}
        LIMIT {MAX_GROUPS + 1}
        """,
        *condition.arguments,
        timeout=seconds,
    )
    if len(rows) > MAX_GROUPS:
        raise ConstraintProblem(f"there are more than {MAX_GROUPS} groups; narrow `where`, or group by fewer fields")
    return [row["members"] for row in rows]


def _value(search: Search, data_type: DataType, known: DataField) -> str:
    """SQL that gives the field of a row `t`, and null where rules hide it. Raises ConstraintProblem where they hide it
    of all things.
    """
    column, seen = f"t.{quote_identifier(known.column)}", search.seen(data_type, known)
    return column if seen is None else f"CASE WHEN {seen} THEN {column} END"


def _call(function: str, value: str) -> str:
    called = f"{function}({value})"
    return f"coalesce({called}, 0)" if function == "sum" else called


def _find(data_type: DataType, name: str, function: str | None) -> DataField:
    known = find_field(data_type, name)
    problem = f"Unrecognized field: {name}" if known is None else misfit(known, function)
    if known is None or problem is not None:
        raise ConstraintProblem(problem or name)
    return known


def _check_members(names: Sequence[str]) -> None:
    twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if twice is not None:
        raise ConstraintProblem(f"the rows would have two members {twice!r}; leave one of these fields out")
    if len(names) > _MAX_MEMBERS:
        raise ConstraintProblem(f"the rows would have {len(names)} members, and at most {_MAX_MEMBERS} are possible")


def _count(status: str) -> int:
    """What the server reports at the end of a statement: `UPDATE 12`."""
    return int(status.rsplit(maxsplit=1)[-1])
