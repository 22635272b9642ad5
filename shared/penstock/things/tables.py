"""The tables of data types: one real table `"<environment>"."<type>"` per type, with typed columns that SQL and BI
tools can read.

Numbers are `numeric`, because money must add up; dates are `timestamptz`; a thing is held by its id; lists are arrays.
A deployment adds tables, columns, unique constraints and indexes, and converts columns where no value is lost
(`conversions`). It drops nothing unless pruning is asked for.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from penstock.db import Connection, DataProblem, UniqueViolation, quote_identifier
from penstock.definitions.fields import BUILT_IN_FIELDS
from penstock.definitions.models import DataField, DataType, FieldType, ScalarType
from penstock.errors import ConfigurationError
from penstock.things.catalogue import FoundTables, find_tables
from penstock.things.conversions import convert
from penstock.things.geography import point_sql
from penstock.things.words import words_sql

_SQL_TYPES: Final[Mapping[str, str]] = {
    ScalarType.TEXT: "text",
    ScalarType.NUMBER: "numeric",
    ScalarType.BOOLEAN: "boolean",
    ScalarType.DATE: "timestamp with time zone",
    ScalarType.DATE_RANGE: "tstzrange",
    ScalarType.ADDRESS: "jsonb",
    ScalarType.FILE: "text",
    ScalarType.IMAGE: "text",
    ScalarType.ANY: "jsonb",
}
_OUR_CONSTRAINT: Final = re.compile(r".*_[0-9a-f]{8}_unique")
"""Others were added by hand, and are left alone."""
_OUR_INDEX: Final = re.compile(r".*_[0-9a-f]{8}_([a-z]+_)?index")
_ID: Final = '"_id"'
_MANY: Final = 100_000
"""Things from which on a deployment says that others wait."""
_STATEMENT_SECONDS: Final = 600.0
"""A large table takes its time to be searched for duplicates."""
USER: Final = DataType(name="user", fields=(DataField(name="email", type=FieldType(ScalarType.TEXT), column="email"),))
"""The type that always exists; an app may add fields to it."""


@dataclass(frozen=True, slots=True)
class TableChange:
    """One statement a deployment needs, and what it does, for a person. `is_loss` says that values are lost by it,
    `note` whom it holds up and for how long.
    """

    kind: Literal["add", "change", "remove"]
    description: str
    sql: str
    is_loss: bool = False
    note: str = field(default="", compare=False)


def table_name(data_type_name: str) -> str:
    """The table of a data type: its name in lower case, with `_` for spaces."""
    return data_type_name.lower().replace(" ", "_")


def qualified_table(environment: str, data_type_name: str) -> str:
    """The quoted name of a type's table, for a statement."""
    return f"{quote_identifier(environment)}.{quote_identifier(table_name(data_type_name))}"


def sql_type(field_type: FieldType) -> str:
    """The column type of a field, as PostgreSQL itself spells it."""
    name = _SQL_TYPES.get(field_type.name, "text")
    if not field_type.is_list:
        return name
    return "jsonb" if name in {"jsonb", "tstzrange"} else f"{name}[]"


async def plan_tables(conn: Connection, *, environment: str, types: Mapping[str, DataType]) -> list[TableChange]:
    """What has to change so that every type has its table. Raises ConfigurationError when a field has another type than
    its column, and the column's values cannot be converted without loss.
    """
    found = await find_tables(conn, environment=environment)
    changes: list[TableChange] = []
    for data_type in {"user": USER, **types}.values():
        table = table_name(data_type.name)
        is_new = table not in found.columns
        indexes = found.indexes.get(table, frozenset())
        # First, because an index of words or places stands in the way of another type for its field.
        changes += _drop_indexes(environment, data_type, indexes)
        changes += _create_table(environment, data_type) if is_new else _change_columns(environment, data_type, found)
        changes += _change_uniques(environment, data_type, found.uniques.get(table, frozenset()))
        size = 0 if is_new else found.sizes.get(table, 0)
        changes += _add_indexes(environment, data_type, indexes, size)
    return changes


async def plan_pruning(conn: Connection, *, environment: str, types: Mapping[str, DataType]) -> list[TableChange]:
    """What could be dropped, with its values: tables that belong to no type, and columns that belong to no field."""
    return _prune(environment, {"user": USER, **types}, (await find_tables(conn, environment=environment)).columns)


async def apply_table_changes(conn: Connection, *, changes: Iterable[TableChange]) -> None:
    """Carry out what was planned. Raises ConfigurationError when existing things contradict a new unique constraint, or
    have values that cannot be converted.
    """
    for change in changes:
        try:
            await conn.execute(change.sql, timeout=_STATEMENT_SECONDS)
        except (UniqueViolation, *DataProblem) as error:
            reason = error.detail or str(error)
            raise ConfigurationError(f"cannot {change.description}: {reason}; change those things first") from error


def _create_table(environment: str, data_type: DataType) -> list[TableChange]:
    table = qualified_table(environment, data_type.name)
    columns = "".join(
        f", {quote_identifier(field.column)} {sql_type(field.type)}{_check(field)}" for field in data_type.fields
    )
    return [
        TableChange(
            "add",
            f"add type {data_type.name} to {environment}",
            f"""CREATE TABLE {table} (
                    "_id" text PRIMARY KEY, "created_date" timestamptz NOT NULL, "modified_date" timestamptz NOT NULL,
                    "created_by" text, "slug" text{columns})""",
        ),
        TableChange(
            "add",
            f"index type {data_type.name} in {environment} by date of creation",
            f'CREATE INDEX ON {table} ("created_date", "_id")',
        ),
    ]


def _change_columns(environment: str, data_type: DataType, existing: FoundTables) -> list[TableChange]:
    changes = []
    table = table_name(data_type.name)
    columns = existing.columns[table]
    for known in data_type.fields:
        wanted, found = sql_type(known.type), columns.get(known.column)
        if found is None:
            statement = (
                f"ALTER TABLE {qualified_table(environment, data_type.name)} ADD COLUMN "
                f"{quote_identifier(known.column)} {wanted}"
            )
            description = f"add field {known.name} ({known.type}) to type {data_type.name} in {environment}"
            changes.append(TableChange("add", description, statement + _check(known)))
        elif found != wanted:
            change = _convert(environment, data_type, known, (found, existing.checks.get((table, known.column), ())))
            changes.append(replace(change, note=_hold_up(existing.sizes.get(table, 0), "reads and writes")))
    return changes


def _convert(
    environment: str, data_type: DataType, field: DataField, found: tuple[str, tuple[str, ...]]
) -> TableChange:
    """How the column, found with that type and these checks, becomes what the field needs."""
    column, wanted = quote_identifier(field.column), sql_type(field.type)
    converted = convert(column, found[0], field.type, wanted)
    if converted is None:
        raise ConfigurationError(
            f"{data_type.place or data_type.name}: field {field.name!r} of type {data_type.name!r} is {found[0]} in "
            f"{environment} and {field.type} needs {wanted}, to which its values cannot be converted without loss; "
            "give the new field another name and copy the values, or convert the column by hand"
        )
    clauses = [f"DROP CONSTRAINT {quote_identifier(name)}" for name in found[1]]
    clauses.append(f"ALTER COLUMN {column} TYPE {wanted} USING {converted}")
    if check := _check(field):
        clauses.append(f"ADD{check}")
    what = f"convert field {field.name} from {found[0]} to {field.type}"
    return _alter("change", environment, data_type, what, ", ".join(clauses))


def _hold_up(things: int, whom: str) -> str:
    """Whom a statement on a table of about this many things holds up; nothing for the few."""
    if things < _MANY:
        return ""
    return f"{whom} of its things, about {things:,}, wait meanwhile: roughly a second for a million"


def _check(field: DataField) -> str:
    """numeric knows NaN and infinities, timestamps know infinities, JSON does not."""
    column = quote_identifier(field.column)
    if field.type.name == ScalarType.DATE and field.type.is_list:
        return f" CHECK (NOT {column} && '{{infinity,-infinity}}')"
    if field.type.name == ScalarType.DATE:
        return f" CHECK (isfinite({column}))"
    if field.type.name == ScalarType.DATE_RANGE and not field.type.is_list:
        ends = f"isfinite(lower({column})) AND isfinite(upper({column}))"
        return f" CHECK (NOT isempty({column}) AND NOT lower_inf({column}) AND NOT upper_inf({column}) AND {ends})"
    if field.type.name != ScalarType.NUMBER:
        return ""
    if field.type.is_list:
        return f" CHECK (NOT {column} && '{{NaN,Infinity,-Infinity}}')"
    return f" CHECK ({column} NOT IN ('NaN', 'Infinity', '-Infinity'))"


def constraint_name(data_type_name: str, columns: Iterable[str]) -> str:
    """The name of the unique constraint on `columns`: readable if it fits, and never the same for two groups."""
    return _name_of(data_type_name, columns, "unique")


def _name_of(data_type_name: str, columns: Iterable[str], kind: str) -> str:
    parts = (table_name(data_type_name), *columns)
    # Hashed with a separator that no name holds: type `a` with `b_c` is not type `a_b` with `c`.
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
    return f"{'_'.join(parts)[:40]}_{digest}_{kind}"


def _change_uniques(environment: str, data_type: DataType, found: frozenset[str]) -> list[TableChange]:
    columns_of = {field.name: field.column for field in (*BUILT_IN_FIELDS, *data_type.fields)}
    changes = []
    wanted = set()
    for group in data_type.unique:
        columns = [columns_of[name] for name in group]
        name = constraint_name(data_type.name, columns)
        wanted.add(name)
        if name not in found:
            quoted = ", ".join(quote_identifier(column) for column in columns)
            statement = f"ADD CONSTRAINT {quote_identifier(name)} UNIQUE ({quoted})"
            changes.append(_alter("add", environment, data_type, f"make {' + '.join(group)} unique", statement))
    changes += [
        _alter(
            "remove",
            environment,
            data_type,
            f"drop unique constraint {name}",
            f"DROP CONSTRAINT {quote_identifier(name)}",
        )
        for name in sorted(found - wanted)
        if _OUR_CONSTRAINT.fullmatch(name)
    ]
    return changes


def _add_indexes(environment: str, data_type: DataType, found: frozenset[str], things: int) -> list[TableChange]:
    changes = []
    for name, keys, by in _list_indexes(data_type):
        if name in found:
            continue
        statement = f"CREATE INDEX {quote_identifier(name)} ON {qualified_table(environment, data_type.name)} {keys}"
        description = f"index type {data_type.name} in {environment} by {by}"
        changes.append(TableChange("add", description, statement, note=_hold_up(things, "writes")))
    return changes


def _drop_indexes(environment: str, data_type: DataType, found: frozenset[str]) -> list[TableChange]:
    changes = []
    unwanted = found - {name for name, _, _ in _list_indexes(data_type)}
    for name in sorted(index for index in unwanted if _OUR_INDEX.fullmatch(index)):
        statement = f"DROP INDEX {quote_identifier(environment)}.{quote_identifier(name)}"
        description = f"drop index {name} of type {data_type.name} in {environment}"
        changes.append(TableChange("remove", description, statement))
    return changes


def _list_indexes(data_type: DataType) -> Iterator[tuple[str, str, str]]:
    """The indexes of a type: the name, the keys as SQL, and by what they find things, for a person."""
    fields = {field.name: field for field in (*BUILT_IN_FIELDS, *data_type.fields)}
    for group in data_type.indexes:
        members = [fields[member] for member in group]
        kind, keys = _keys_of(members)
        yield _name_of(data_type.name, [member.column for member in members], kind), keys, " + ".join(group)
    for member in data_type.words:
        name = _name_of(data_type.name, [fields[member].column], "words_index")
        yield name, f"USING gin ({words_sql(fields[member])})", f"the words of {member}"


def _keys_of(members: list[DataField]) -> tuple[str, str]:
    """The kind of index that serves these fields, and its keys; a field of another type gets another index."""
    first = members[0]
    if first.type.is_list:
        return "items_index", f"USING gin ({quote_identifier(first.column)})"  # for `contains`
    if first.type.name == ScalarType.ADDRESS:
        return "place_index", f"USING gist ({point_sql(first)})"
    # With the id behind them, pages sorted by the fields are read in order.
    return "index", f"({', '.join([*(quote_identifier(member.column) for member in members), _ID])})"


def _alter(
    kind: Literal["add", "change", "remove"], environment: str, data_type: DataType, what: str, clause: str
) -> TableChange:
    statement = f"ALTER TABLE {qualified_table(environment, data_type.name)} {clause}"
    return TableChange(kind, f"{what} in type {data_type.name} of {environment}", statement)


def _prune(
    environment: str, wanted: Mapping[str, DataType], existing: Mapping[str, Mapping[str, str]]
) -> list[TableChange]:
    by_table = {table_name(data_type.name): data_type for data_type in wanted.values()}
    changes = []
    for table, columns in sorted(existing.items()):
        quoted = f"{quote_identifier(environment)}.{quote_identifier(table)}"
        if table not in by_table:
            changes.append(
                TableChange(
                    "remove",
                    f"drop table {table} and all its things from {environment}",
                    f"DROP TABLE {quoted}",
                    is_loss=True,
                )
            )
            continue
        kept = {field.column for field in by_table[table].fields} | {field.column for field in BUILT_IN_FIELDS}
        changes += [
            TableChange(
                "remove",
                f"drop column {column} and its values from type {table} in {environment}",
                f"ALTER TABLE {quoted} DROP COLUMN {quote_identifier(column)}",
                is_loss=True,
            )
            for column in sorted(columns.keys() - kept)
        ]
    return changes
