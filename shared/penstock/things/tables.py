"""The tables of data types: one real table `"<environment>"."<type>"` per type, with typed columns that SQL and BI
tools can read.

Numbers are `numeric`, because money must add up; dates are `timestamptz`; a thing is held by its id; lists are arrays.
A deployment adds tables, columns and unique constraints. It never converts a column, and drops nothing unless it is
told to prune.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from penstock.db import Connection, UniqueViolation, quote_identifier
from penstock.definitions.fields import BUILT_IN_FIELDS
from penstock.definitions.models import DataField, DataType, FieldType, ScalarType
from penstock.errors import ConfigurationError

_SQL_TYPES: Final[Mapping[str, str]] = {
    ScalarType.TEXT: "text",
    ScalarType.NUMBER: "numeric",
    ScalarType.BOOLEAN: "boolean",
    ScalarType.DATE: "timestamp with time zone",
    ScalarType.ADDRESS: "jsonb",
    ScalarType.FILE: "text",
    ScalarType.IMAGE: "text",
    ScalarType.ANY: "jsonb",
}
_OUR_CONSTRAINT: Final = re.compile(r".*_[0-9a-f]{8}_unique")
"""Others were added by hand, and are left alone."""
_STATEMENT_SECONDS: Final = 600.0
"""A large table takes its time to be searched for duplicates."""
USER: Final = DataType(name="user", fields=(DataField(name="email", type=FieldType(ScalarType.TEXT), column="email"),))
"""The type that always exists; an app may add fields to it."""


@dataclass(frozen=True, slots=True)
class TableChange:
    """One statement a deployment needs, and what it does, for a person. `is_loss` says that values are lost by it."""

    kind: Literal["add", "remove"]
    description: str
    sql: str
    is_loss: bool = False


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
    return "jsonb" if name == "jsonb" else f"{name}[]"


async def plan_tables(conn: Connection, *, environment: str, types: Mapping[str, DataType]) -> list[TableChange]:
    """What has to change so that every type has its table. Raises ConfigurationError when a field has another type than
    its column.
    """
    existing = await _get_columns(conn, environment)
    constraints = await _get_unique_constraints(conn, environment)
    changes: list[TableChange] = []
    for data_type in {"user": USER, **types}.values():
        columns = existing.get(table_name(data_type.name))
        changes += (
            _create_table(environment, data_type) if columns is None else _add_columns(environment, data_type, columns)
        )
        changes += _change_uniques(environment, data_type, constraints.get(table_name(data_type.name), frozenset()))
    return changes


async def plan_pruning(conn: Connection, *, environment: str, types: Mapping[str, DataType]) -> list[TableChange]:
    """What could be dropped, with its values: tables that belong to no type, and columns that belong to no field."""
    return _prune(environment, {"user": USER, **types}, await _get_columns(conn, environment))


async def apply_table_changes(conn: Connection, *, changes: Iterable[TableChange]) -> None:
    """Carry out what was planned. Raises ConfigurationError when existing things contradict a new unique constraint."""
    for change in changes:
        try:
            await conn.execute(change.sql, timeout=_STATEMENT_SECONDS)
        except UniqueViolation as error:
            raise ConfigurationError(
                f"cannot {change.description}: {error.detail}; change those things first"
            ) from error


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


def _add_columns(environment: str, data_type: DataType, columns: Mapping[str, str]) -> list[TableChange]:
    changes = []
    for field in data_type.fields:
        wanted, found = sql_type(field.type), columns.get(field.column)
        if found is None:
            statement = (
                f"ALTER TABLE {qualified_table(environment, data_type.name)} ADD COLUMN "
                f"{quote_identifier(field.column)} {wanted}"
            )
            description = f"add field {field.name} ({field.type}) to type {data_type.name} in {environment}"
            changes.append(TableChange("add", description, statement + _check(field)))
        elif found != wanted:
            raise ConfigurationError(
                f"{data_type.place or data_type.name}: field {field.name!r} of type {data_type.name!r} is {found} in "
                f"{environment}"
                f" and {field.type} needs {wanted}; give the new field another name and copy the values, or convert "
                "the column by hand"
            )
    return changes


def _check(field: DataField) -> str:
    """numeric knows NaN and infinities, timestamps know infinities, JSON does not."""
    column = quote_identifier(field.column)
    if field.type.name == ScalarType.DATE and field.type.is_list:
        return f" CHECK (NOT {column} && '{{infinity,-infinity}}')"
    if field.type.name == ScalarType.DATE:
        return f" CHECK (isfinite({column}))"
    if field.type.name != ScalarType.NUMBER:
        return ""
    if field.type.is_list:
        return f" CHECK (NOT {column} && '{{NaN,Infinity,-Infinity}}')"
    return f" CHECK ({column} NOT IN ('NaN', 'Infinity', '-Infinity'))"


def constraint_name(data_type_name: str, columns: Iterable[str]) -> str:
    """The name of the unique constraint on `columns`: readable if it fits, and never the same for two groups."""
    parts = (table_name(data_type_name), *columns)
    # Hashed with a separator that no name holds: type `a` with `b_c` is not type `a_b` with `c`.
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
    return f"{'_'.join(parts)[:40]}_{digest}_unique"


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


def _alter(
    kind: Literal["add", "remove"], environment: str, data_type: DataType, what: str, clause: str
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


async def _get_columns(conn: Connection, environment: str) -> dict[str, dict[str, str]]:
    """The columns of every table of the environment, with their types as PostgreSQL spells them."""
    rows = await conn.fetch(
        """
        SELECT t.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS type
        FROM pg_class t
        JOIN pg_namespace n ON n.oid = t.relnamespace
        JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE n.nspname = $1 AND t.relkind = 'r'
        """,
        environment,
    )
    tables: dict[str, dict[str, str]] = {}
    for row in rows:
        tables.setdefault(row["relname"], {})[row["attname"]] = row["type"]
    return tables


async def _get_unique_constraints(conn: Connection, environment: str) -> dict[str, frozenset[str]]:
    rows = await conn.fetch(
        """
        SELECT t.relname, array_agg(c.conname::text) AS names
        FROM pg_constraint c
        JOIN pg_class t ON t.oid = c.conrelid
        JOIN pg_namespace n ON n.oid = t.relnamespace
        WHERE n.nspname = $1 AND c.contype = 'u'
        GROUP BY t.relname
        """,
        environment,
    )
    return {row["relname"]: frozenset(row["names"]) for row in rows}
