"""The statements that write many things at once. Their one parameter is JSON; names come from the data type, quoted."""

from collections.abc import Iterable, Sequence
from typing import Final

from penstock.db import quote_identifier
from penstock.definitions.fields import BUILT_IN_FIELDS
from penstock.definitions.models import DataType
from penstock.things.json import json_of
from penstock.things.tables import qualified_table, sql_type

_CREATED: Final = "coalesce(q.created_date, m.moment)"


def insert_statement(
    environment: str,
    data_type: DataType,
    columns: Iterable[str],
    *,
    rows: str = "$1::jsonb",
) -> str:
    """Inserts `rows`, SQL for a JSON array of rows by column with `_id`, `created_by` and perhaps `created_date`;
    `columns` are the others.

    By default one parameter, whatever the number of rows and columns, so that the statement stays prepared.
    """
    target = qualified_table(environment, data_type.name)
    quoted = [quote_identifier(column) for column in columns]
    also = "".join(f", {name}" for name in quoted)
    return f"""
        INSERT INTO {target} AS t ("_id", "created_date", "modified_date", "created_by"{also})
        SELECT q."_id", {_CREATED}, {_CREATED}, q."created_by"{"".join(f", q.{name}" for name in quoted)}
        FROM jsonb_populate_recordset(NULL::{target}, {rows}) q
        CROSS JOIN (SELECT date_trunc('milliseconds', clock_timestamp()) AS moment) m
        """


def insert_texts(environment: str, data_type: DataType, columns: Sequence[str], key: Sequence[str]) -> str:
    """Inserts rows whose parameters are lists of texts, one for each column: `_id`, `created_date` and `created_by`,
    then `columns`. Their `modified_date` is the present. Returns `_id`, and `is_new`.

    A row that is the same as another where it has to be unique is left out; with a `key`, columns that are unique
    together, it changes `columns` of that thing instead.
    """
    types = {known.column: sql_type(known.type) for known in (*BUILT_IN_FIELDS, *data_type.fields)}
    names = ["_id", "created_date", "created_by", *columns]
    quoted = [quote_identifier(name) for name in names]
    values = [f"q.{name}::{types[column]}" for name, column in zip(quoted, names, strict=True)]
    values[1] = f"coalesce({values[1]}, m.moment)"
    lists = ", ".join(f"${number}::text[]" for number in range(1, len(names) + 1))
    conflict = "ON CONFLICT DO NOTHING"
    if key:
        changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in ('"modified_date"', *quoted[3:]))
        conflict = f"ON CONFLICT ({', '.join(map(quote_identifier, key))}) DO UPDATE SET {changes}"
    # A row version that replaces none has no deleter of an earlier one.
    return f"""
        INSERT INTO {qualified_table(environment, data_type.name)} AS t ({", ".join(quoted)}, "modified_date")
        SELECT {", ".join(values)}, m.moment
        FROM unnest({lists}) AS q ({", ".join(quoted)})
        CROSS JOIN (SELECT date_trunc('milliseconds', clock_timestamp()) AS moment) m
        {conflict}
        RETURNING t."_id", t.xmax = 0 AS is_new
        """


def update_statement(environment: str, data_type: DataType, shape: tuple[tuple[str, ...], ...]) -> str:
    """Sets, then adds what a list does not hold yet, then removes; the same columns for every record."""
    values, adds, removes = shape
    target = qualified_table(environment, data_type.name)
    expressions = {column: f"s.{quote_identifier(column)}" for column in values}
    for column in adds:
        name = quote_identifier(column)
        current = expressions.get(column, f"t.{name}")
        items = f"unnest(a.{name}) WITH ORDINALITY AS g (item, place) GROUP BY g.item"
        given = f"(SELECT g.item, min(g.place) AS place FROM {items}) n"
        missing = f"WHERE n.item <> ALL (coalesce({current}, '{{}}'))"
        new = f"(SELECT array_agg(n.item ORDER BY n.place) FROM {given} {missing})"
        expressions[column] = f"nullif(coalesce({current}, '{{}}') || coalesce({new}, '{{}}'), '{{}}')"
    for column in removes:
        name = quote_identifier(column)
        current = expressions.get(column, f"t.{name}")
        kept = f"unnest({current}) WITH ORDINALITY AS k (item, place) WHERE k.item <> ALL (coalesce(r.{name}, '{{}}'))"
        expressions[column] = f"(SELECT array_agg(k.item ORDER BY k.place) FROM {kept})"
    changed = "".join(f", {quote_identifier(column)} = {expression}" for column, expression in expressions.items())
    populated = ", ".join(
        f"LATERAL jsonb_populate_record(NULL::{target}, q.{part}) {alias}"
        for part, alias in (("changed", "s"), ("added", "a"), ("removed", "r"))
    )
    return f"""
        UPDATE {target} t SET "modified_date" = date_trunc('milliseconds', clock_timestamp()){changed}
        FROM jsonb_to_recordset($1::jsonb) AS q ("_id" text, "changed" jsonb, "added" jsonb, "removed" jsonb),
             {populated}
        WHERE t."_id" = q."_id"
        RETURNING t."_id", {json_of(data_type)} AS thing
        """
