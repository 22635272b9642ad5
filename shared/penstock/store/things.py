"""Things: created, changed, deleted and found, many in one statement.

A thing in JSON, as expressions and the Data API see it: `_id`, `Created Date`, `Modified Date`, `Created By`, `Slug`, and its fields by
name; empty fields are left out; dates are `2022-12-22T09:45:37.369Z`; whole numbers are integers. Values are checked before they are
written: `check_values` raises Permanent with the field and what it expects.
"""

import base64
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from typing import Final

import orjson
from pydantic import JsonValue

from penstock.db import Connection, quote_identifier
from penstock.definitions.fields import BUILT_IN_FIELDS, WRITABLE_BUILT_IN, find_field
from penstock.definitions.models import DataField, DataType, ScalarType
from penstock.definitions.values import coerce_value, format_date
from penstock.errors import Permanent
from penstock.store.constraints import Condition, ConstraintProblem, Where, compile_where
from penstock.store.thing_tables import qualified_table, sql_type

Thing = dict[str, JsonValue]
MAX_PAGE: Final = 10_000
_DATE_FORMAT: Final = """'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'"""
_SLUG: Final = next(known for known in BUILT_IN_FIELDS if known.name == "Slug")
_CREATED: Final = next(known for known in BUILT_IN_FIELDS if known.name == "Created Date")


@dataclass(frozen=True, slots=True)
class NewThing:
    """A thing to be created: its id, its values by field name, who creates it, and when (None: now, by the database's clock)."""

    id: str
    values: Mapping[str, JsonValue]
    created_by: str | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ThingChange:
    """What is to change in a thing: values to set (null clears), and what to add to or remove from its lists."""

    id: str
    values: Mapping[str, JsonValue]
    add: Mapping[str, JsonValue] = field(default_factory=dict)
    remove: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """Some things; `after` asks for the next ones, None at the end; `remaining` counts those after this page, None if not asked for."""

    results: list[Thing]
    after: str | None
    remaining: int | None


def check_values(data_type: DataType, values: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """`values`, by column, in the form that is stored. Raises Permanent for unknown fields and values that do not fit."""
    return {_writable(data_type, name).column: _check(data_type, _writable(data_type, name), value) for name, value in values.items()}


async def create_things(
    conn: Connection, *, environment: str, data_type: DataType, things: Sequence[NewThing], upsert: Sequence[str] = ()
) -> list[Thing]:
    """Create `things` and return them, in order. With `upsert`, the fields of a unique group, one that exists is changed instead.

    Raises UniqueViolation (nothing was created then), Permanent for values that do not fit.
    """
    rows = [check_values(data_type, thing.values) for thing in things]
    columns = sorted({column for row in rows for column in row})
    quoted = [quote_identifier(column) for column in columns]
    target = qualified_table(environment, data_type.name)
    statement = f"""
        INSERT INTO {target} AS t ("_id", "created_date", "modified_date", "created_by"{"".join(f", {name}" for name in quoted)})
        SELECT q."_id", coalesce(q."created_date", m.moment), coalesce(q."created_date", m.moment), q."created_by"{"".join(f", q.{name}" for name in quoted)}
        FROM jsonb_populate_recordset(NULL::{target}, $1::jsonb) q
        CROSS JOIN (SELECT date_trunc('milliseconds', clock_timestamp()) AS moment) m
        """
    records = [
        {**row, "_id": thing.id, "created_by": thing.created_by, "created_date": thing.created_at and format_date(thing.created_at)}
        for thing, row in zip(things, rows, strict=True)
    ]
    if not upsert:
        inserted = await conn.fetch(statement + 'RETURNING "_id", "created_date"', records)
        moments = {row["_id"]: format_date(row["created_date"]) for row in inserted}
        return [_render(data_type, thing, row, moments[thing.id]) for thing, row in zip(things, rows, strict=True)]
    keys = [quote_identifier(_writable(data_type, name).column) for name in upsert]
    changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in ['"modified_date"', *quoted])
    statement += f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes} RETURNING {_json_of(data_type)} AS thing"
    # One by one, because two things of the batch may be the same one, which a single statement refuses to change twice.
    return [_tidy(data_type, await conn.fetchval(statement, [record])) for record in records]


def render_new(data_type: DataType, thing: NewThing) -> Thing:
    """A thing with a `created_at` as it will be once it is created. Raises Permanent for values that do not fit."""
    assert thing.created_at is not None
    return _render(data_type, thing, check_values(data_type, thing.values), format_date(thing.created_at))


async def update_things(conn: Connection, *, environment: str, data_type: DataType, changes: Sequence[ThingChange]) -> dict[str, Thing]:
    """Change things; returns those that exist, by id. An id should occur once."""
    shapes: defaultdict[tuple[tuple[str, ...], ...], list[dict[str, JsonValue]]] = defaultdict(list)
    for change in changes:
        parts = [check_values(data_type, part) for part in (change.values, _as_lists(change.add), _as_lists(change.remove))]
        for column in (*parts[1], *parts[2]):
            _require_list(data_type, column)
        shape = tuple(tuple(sorted(part)) for part in parts)
        shapes[shape].append({"_id": change.id, "set": parts[0], "add": parts[1], "remove": parts[2]})
    found: dict[str, Thing] = {}
    for shape, records in shapes.items():
        rows = await conn.fetch(_update_statement(environment, data_type, shape), records)
        found |= {row["_id"]: _tidy(data_type, row["thing"]) for row in rows}
    return found


async def delete_things(conn: Connection, *, environment: str, data_type: DataType, ids: Sequence[str]) -> int:
    """Delete things; returns how many there were."""
    status = await conn.execute(f'DELETE FROM {qualified_table(environment, data_type.name)} WHERE "_id" = ANY($1::text[])', list(ids))
    return int(status.split()[-1])


async def get_thing(conn: Connection, *, environment: str, data_type: DataType, id: str) -> Thing | None:
    """The thing with that id, or None."""
    statement = f'SELECT {_json_of(data_type)} FROM {qualified_table(environment, data_type.name)} t WHERE "_id" = $1'
    thing = await conn.fetchval(statement, id)
    return None if thing is None else _tidy(data_type, thing)


async def find_type_of(conn: Connection, *, environment: str, types: Iterable[DataType], id: str) -> DataType | None:
    """The data type of the thing with that id, or None when there is no such thing."""
    by_name = {data_type.name: data_type for data_type in types}
    probes = " UNION ALL ".join(
        f'SELECT {position} AS position FROM {qualified_table(environment, name)} WHERE "_id" = $1' for position, name in enumerate(by_name)
    )
    position = await conn.fetchval(probes, id) if probes else None
    return None if position is None else by_name[list(by_name)[position]]


async def count_things(conn: Connection, *, environment: str, data_type: DataType, where: Where = None) -> int:
    """How many things meet `where`."""
    condition = compile_where(data_type, where)
    statement = f"SELECT count(*) FROM {qualified_table(environment, data_type.name)} t WHERE {condition.sql}"
    count: int = await conn.fetchval(statement, *condition.arguments)
    return count


@dataclass(frozen=True, slots=True)
class Order:
    """Sorted by a field, empty values last, then by id; None sorts by `Created Date`."""

    sort: str | None = None
    descending: bool = False
    further: tuple[tuple[str, bool], ...] = ()


async def find_things(
    conn: Connection,
    *,
    environment: str,
    data_type: DataType,
    where: Where = None,
    order: Order = Order(),
    limit: int = 100,
    after: str | None = None,
    skip: int = 0,
    with_remaining: bool = False,
) -> Page:
    """Things that meet `where`, at most `limit`: those behind the keyset token `after`, or from position `skip` on.

    Raises ConstraintProblem for what cannot be sorted or constrained, and for a token that is not ours.
    """
    condition = compile_where(data_type, where)
    by = _sortable(data_type, order.sort) if order.sort else _CREATED
    if after is not None:
        condition.clauses.append(_behind(condition, by, order.descending, after))
    matching, arguments = condition.sql, list(condition.arguments)
    direction = "DESC" if order.descending else "ASC"
    further = "".join(
        f", {quote_identifier(_sortable(data_type, name).column)} {'DESC' if falls else 'ASC'} NULLS LAST" for name, falls in order.further
    )
    table = qualified_table(environment, data_type.name)
    rows = await conn.fetch(
        f"""
        SELECT {_json_of(data_type)} AS thing, {quote_identifier(by.column)}::text AS sort_key FROM {table} t
        WHERE {matching}
        ORDER BY {quote_identifier(by.column)} {direction} NULLS LAST{further}, "_id"
        LIMIT {condition.bind(limit + 1)}::bigint OFFSET {condition.bind(skip)}::bigint
        """,
        *condition.arguments,
    )
    shown = rows[: max(limit, 0)]
    remaining = None
    if with_remaining:
        total = await conn.fetchval(f"SELECT count(*) FROM {table} t WHERE {matching}", *arguments)
        remaining = max(total - skip - len(shown), 0)
    token = _token(shown[-1]["sort_key"], shown[-1]["thing"]["_id"]) if len(rows) > len(shown) and shown and not further else None
    return Page([_tidy(data_type, row["thing"]) for row in shown], token, remaining)


def _behind(condition: Condition, by: DataField, descending: bool, after: str) -> str:
    sort_key, last_id = _read_token(after)
    column, id_parameter = quote_identifier(by.column), condition.bind(last_id)
    if sort_key is None:
        return f'({column} IS NULL AND "_id" > {id_parameter})'
    value = f"{condition.bind(sort_key)}::text::{sql_type(by.type)}"
    return f'({column} {"<" if descending else ">"} {value} OR ({column} = {value} AND "_id" > {id_parameter}) OR {column} IS NULL)'


def _token(sort_key: str | None, last_id: JsonValue) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([sort_key, last_id])).decode().rstrip("=")


def _read_token(token: str) -> tuple[str | None, str]:
    try:
        sort_key, last_id = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except ValueError:
        raise ConstraintProblem("`after` has to be what an earlier page gave") from None
    if not isinstance(last_id, str) or not isinstance(sort_key, str | None):
        raise ConstraintProblem("`after` has to be what an earlier page gave")
    return sort_key, last_id


def _sortable(data_type: DataType, name: str) -> DataField:
    found = find_field(data_type, name)
    if found is None:
        raise ConstraintProblem(f"Unrecognized field: {name}")
    if found.type.is_list or sql_type(found.type) == "jsonb":
        raise ConstraintProblem(f"things cannot be sorted by {found.name}, which is a {found.type}")
    return found


def _writable(data_type: DataType, name: str) -> DataField:
    for known in data_type.fields:
        if known.name == name:
            return known
    if name in WRITABLE_BUILT_IN:
        return _SLUG
    near = get_close_matches(name, [known.name for known in data_type.fields], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise Permanent(f"type {data_type.name!r} has no field {name!r} that can be written{hint}", kind="unknown_field")


def _check(data_type: DataType, known: DataField, value: JsonValue) -> JsonValue:
    if value is None:
        return None
    try:
        return coerce_value(known.type, value)
    except ValueError as error:
        raise Permanent(f"field {known.name!r} of type {data_type.name!r}: {error}", kind="invalid_value") from None


def _as_lists(values: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {name: value if isinstance(value, list) or value is None else [value] for name, value in values.items()}


def _require_list(data_type: DataType, column: str) -> None:
    known = next(known for known in (*data_type.fields, _SLUG) if known.column == column)
    if not known.type.is_list or sql_type(known.type) == "jsonb":
        raise Permanent(
            f"field {known.name!r} of type {data_type.name!r} is a {known.type}; only lists (not of addresses) are added to",
            kind="not_a_list",
        )


def _update_statement(environment: str, data_type: DataType, shape: tuple[tuple[str, ...], ...]) -> str:
    """Sets, then adds what a list does not hold yet, then removes; the same columns for every record."""
    values, adds, removes = shape
    target = qualified_table(environment, data_type.name)
    expressions = {column: f"s.{quote_identifier(column)}" for column in values}
    for column in adds:
        name = quote_identifier(column)
        current = expressions.get(column, f"t.{name}")
        new = f"(SELECT array_agg(DISTINCT n) FROM unnest(a.{name}) n WHERE n <> ALL (coalesce({current}, '{{}}')))"
        expressions[column] = f"(coalesce({current}, '{{}}') || coalesce({new}, '{{}}'))"
    for column in removes:
        name = quote_identifier(column)
        current = expressions.get(column, f"t.{name}")
        kept = f"unnest({current}) WITH ORDINALITY AS k (item, place) WHERE k.item <> ALL (coalesce(r.{name}, '{{}}'))"
        expressions[column] = f"(SELECT array_agg(k.item ORDER BY k.place) FROM {kept})"
    changed = "".join(f", {quote_identifier(column)} = {expression}" for column, expression in expressions.items())
    populated = ", ".join(
        f"LATERAL jsonb_populate_record(NULL::{target}, q.{part}) {alias}" for part, alias in (("set", "s"), ("add", "a"), ("remove", "r"))
    )
    return (
        f"""
        UPDATE {target} t SET "modified_date" = date_trunc('milliseconds', clock_timestamp()){changed}
        FROM jsonb_to_recordset($1::jsonb) AS q ("_id" text, "set" jsonb, "add" jsonb, "remove" jsonb), {populated}
        WHERE t."_id" = q."_id"
        RETURNING t."_id", {_json_of(data_type)} AS thing
        """.replace("q.set", 'q."set"')
        .replace("q.add", 'q."add"')
        .replace("q.remove", 'q."remove"')
    )


def _json_of(data_type: DataType) -> str:
    """SQL that gives a row `t` of the type's table as the JSON of a thing."""
    parts = [f"{_literal(known.name)}, {_value_of(known)}" for known in (*BUILT_IN_FIELDS, *data_type.fields)]
    # A function takes at most a hundred arguments.
    objects = [f"jsonb_build_object({', '.join(parts[first : first + 40])})" for first in range(0, len(parts), 40)]
    return f"jsonb_strip_nulls({' || '.join(objects)})"


def _value_of(known: DataField) -> str:
    column = f"t.{quote_identifier(known.column)}"
    if known.type.name == ScalarType.DATE:
        if known.type.is_list:
            return f"(SELECT jsonb_agg(to_char(d AT TIME ZONE 'UTC', {_DATE_FORMAT})) FROM unnest({column}) d)"
        return f"to_char({column} AT TIME ZONE 'UTC', {_DATE_FORMAT})"
    if known.type.name == ScalarType.NUMBER and not known.type.is_list:
        return f"trim_scale({column})"
    return column


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _render(data_type: DataType, thing: NewThing, row: Mapping[str, JsonValue], moment: str) -> Thing:
    """A thing just created, without asking the database for what is known."""
    rendered: Thing = {"_id": thing.id, "Created Date": moment, "Modified Date": moment}
    if thing.created_by is not None:
        rendered["Created By"] = thing.created_by
    for known in (_SLUG, *data_type.fields):
        value = row.get(known.column)
        if value is not None:
            rendered[known.name] = value
    return rendered


def _tidy(data_type: DataType, thing: Thing) -> Thing:
    """Whole numbers in lists as integers: PostgreSQL keeps the scale that a number was written with."""
    for known in data_type.fields:
        if known.type.is_list and known.type.name == ScalarType.NUMBER and isinstance(items := thing.get(known.name), list):
            thing[known.name] = [int(item) if isinstance(item, float) and item.is_integer() else item for item in items]
    return thing
