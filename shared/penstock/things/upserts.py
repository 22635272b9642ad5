"""Upserts: things that are created, or changed where one with the same unique values exists."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from penstock import exact_json
from penstock.db import Connection, quote_identifier
from penstock.definitions.models import DataField, DataType
from penstock.errors import Permanent
from penstock.things.json import json_of, read_thing
from penstock.things.statements import insert_statement
from penstock.things.tables import qualified_table
from penstock.things.values import writable_field

Thing = dict[str, JsonValue]
Row = Mapping[str, JsonValue]
_RECORD_COLUMNS: Final = frozenset({"_id", "created_by", "created_date"})


async def upsert_rows(
    conn: Connection, *, environment: str, data_type: DataType, upsert: Sequence[str], rows: Sequence[Row]
) -> list[Thing]:
    """The things that `rows` make or change, in order; `upsert` names a unique group of fields. Raises Permanent.

    One statement changes a thing only once and sets the same fields in all, as what a row does not name has to stay; so
    a batch takes as many statements as it has shapes of rows, and more where a thing occurs again.
    """
    fields = _unique_fields(data_type, upsert)
    rounds: defaultdict[tuple[int, tuple[str, ...]], dict[bytes, int]] = defaultdict(dict)
    seen: Counter[bytes] = Counter()
    for position, row in enumerate(rows):
        key = _key(fields, row)
        shape = tuple(sorted(row.keys() - _RECORD_COLUMNS))
        rounds[seen[key], shape][key] = position
        seen[key] += 1
    things: dict[int, Thing] = {}
    for (_, shape), positions in sorted(rounds.items(), key=lambda item: item[0]):
        # In the order of their keys, so that two batches wait for each other in one order.
        chosen = [rows[position] for _, position in sorted(positions.items())]
        for record in await conn.fetch(_statement(environment, data_type, fields, shape), chosen):
            thing = read_thing(data_type, record["thing"])
            key = _key(fields, {"_id": thing["_id"], **{field.column: thing.get(field.name) for field in fields}})
            things[positions[key]] = thing
    return [things[position] for position in range(len(rows))]


async def find_by_unique(
    conn: Connection, *, environment: str, data_type: DataType, upsert: Sequence[str], row: Row
) -> str | None:
    """The id of the thing that has the same values in these unique fields as `row`, by column; None where there is
    none, or where one of them is empty. Raises Permanent.
    """
    fields = _unique_fields(data_type, upsert)
    table = qualified_table(environment, data_type.name)
    same = " AND ".join(f"t.{name} = q.{name}" for name in (quote_identifier(field.column) for field in fields))
    id: str | None = await conn.fetchval(
        f'SELECT t."_id" FROM {table} t, jsonb_populate_record(NULL::{table}, $1::jsonb) q WHERE {same}', dict(row)
    )
    return id


def _key(fields: Sequence[DataField], row: Row) -> bytes:
    """What makes two rows the same thing. An empty value is like no other: such a row is always a new thing."""
    values = [row.get(field.column) for field in fields]
    return exact_json.dumps([row["_id"]] if None in values else values)


def _statement(environment: str, data_type: DataType, fields: Sequence[DataField], shape: Sequence[str]) -> str:
    changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in ('"modified_date"', *map(quote_identifier, shape)))
    conflict = f"ON CONFLICT ({', '.join(quote_identifier(field.column) for field in fields)}) DO UPDATE SET {changes}"
    return f"{insert_statement(environment, data_type, shape)} {conflict} RETURNING {json_of(data_type)} AS thing"


def _unique_fields(data_type: DataType, upsert: Sequence[str]) -> list[DataField]:
    if not any(set(upsert) == set(group) for group in data_type.unique):
        groups = " or ".join(" + ".join(group) for group in data_type.unique) or "none so far"
        raise Permanent(
            f"upsert by {' + '.join(upsert)}: type {data_type.name!r} needs these fields as one entry of `unique` (it "
            f"has: {groups})",
            kind="not_unique",
        )
    return [writable_field(data_type, name) for name in upsert]
