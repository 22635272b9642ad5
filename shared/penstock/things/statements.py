"""The statements that write many things at once. Their one parameter is JSON; names come from the data type, quoted."""

from collections.abc import Iterable
from typing import Final

from penstock.db import quote_identifier
from penstock.definitions.models import DataType
from penstock.things.json import json_of
from penstock.things.tables import qualified_table

AS_CREATED: Final = "coalesce(q.created_date, m.moment)"
JUST_NOW: Final = "m.moment"


def insert_statement(
    environment: str,
    data_type: DataType,
    columns: Iterable[str],
    *,
    rows: str = "$1::jsonb",
    modified: str = AS_CREATED,
) -> str:
    """Inserts `rows`, SQL for a JSON array of rows by column with `_id`, `created_by` and perhaps `created_date`;
    `columns` are the others.

    By default one parameter, whatever the number of rows and columns, so that the statement stays prepared. `modified`
    is AS_CREATED or, for things that were created long ago elsewhere, JUST_NOW.
    """
    target = qualified_table(environment, data_type.name)
    quoted = [quote_identifier(column) for column in columns]
    also = "".join(f", {name}" for name in quoted)
    return f"""
        INSERT INTO {target} AS t ("_id", "created_date", "modified_date", "created_by"{also})
        SELECT q."_id", {AS_CREATED}, {modified}, q."created_by"{"".join(f", q.{name}" for name in quoted)}
        FROM jsonb_populate_recordset(NULL::{target}, {rows}) q
        CROSS JOIN (SELECT date_trunc('milliseconds', clock_timestamp()) AS moment) m
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
