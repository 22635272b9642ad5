"""Things: created, changed, deleted and found, many in one statement.

A thing in JSON, as expressions and the Data API see it: `_id`, `Created Date`, `Modified Date`, `Created By`, `Slug`,
and its fields by name; empty fields (null, or a list of nothing) are left out; dates are `2022-12-22T09:45:37.369Z`;
whole numbers are integers. Values are checked before they are written: `thing_values.check_values` raises Permanent
with the field and what it expects.
"""

import base64
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pydantic import JsonValue, TypeAdapter

from penstock import exact_json
from penstock.db import Connection, quote_identifier
from penstock.definitions.fields import BUILT_IN_FIELDS, find_field
from penstock.definitions.models import DataField, DataType
from penstock.definitions.values import format_date
from penstock.errors import Permanent
from penstock.things.constraints import Condition, ConstraintProblem, Where, compile_where, to_parameter
from penstock.things.json import is_json, json_of, read_thing, render_thing
from penstock.things.statements import insert_statement, update_statement
from penstock.things.tables import qualified_table, sql_type
from penstock.things.upserts import upsert_rows
from penstock.things.values import check_values, may_exist, writable_field

Thing = dict[str, JsonValue]
MAX_PAGE: Final = 10_000
_MAX_SKIP: Final = 2**62
_TOKEN: Final = TypeAdapter(tuple[str | None, str])
_ALWAYS_SET: Final = frozenset({"_id", "created_date", "modified_date"})
_CREATED: Final = next(known for known in BUILT_IN_FIELDS if known.name == "Created Date")


@dataclass(frozen=True, slots=True)
class NewThing:
    """A thing to be created: its id, its values by field name, who creates it, and when (None: now, by the database's
    clock).
    """

    id: str
    values: Mapping[str, JsonValue]
    created_by: str | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PreparedThing:
    """A new thing that was checked: the columns it sets, what is written, and the thing as it will be read."""

    columns: tuple[str, ...]
    record: dict[str, JsonValue]
    shown: Thing


@dataclass(frozen=True, slots=True)
class ThingChange:
    """What is to change in a thing: values to set (null clears), and what to add to or remove from its lists."""

    id: str
    values: Mapping[str, JsonValue]
    add: Mapping[str, JsonValue] = field(default_factory=dict)
    remove: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """Some things; `after` asks for the next ones, None at the end; `remaining` counts those after this page, None if
    not asked for.
    """

    results: list[Thing]
    after: str | None
    remaining: int | None


async def create_things(
    conn: Connection, *, environment: str, data_type: DataType, things: Sequence[NewThing], upsert: Sequence[str] = ()
) -> list[Thing]:
    """Create `things` and return them, in order. With `upsert`, the fields of a unique group, one that exists is
    changed instead.

    Raises UniqueViolation (nothing was created then), Permanent for values that do not fit and an `upsert` that is no
    unique group.
    """
    rows = [check_values(data_type, thing.values) for thing in things]
    records = [to_record(thing, row) for thing, row in zip(things, rows, strict=True)]
    if upsert:
        return await upsert_rows(conn, environment=environment, data_type=data_type, upsert=upsert, rows=records)
    columns = sorted({column for row in rows for column in row})
    statement = f"""{insert_statement(environment, data_type, columns)} RETURNING "_id", "created_date" """
    inserted = await conn.fetch(statement, records)
    moments = {row["_id"]: format_date(row["created_date"]) for row in inserted}
    return [_render(data_type, thing, row, moments[thing.id]) for thing, row in zip(things, rows, strict=True)]


def prepare_thing(data_type: DataType, thing: NewThing) -> PreparedThing:
    """Check a new thing that has a `created_at`. Raises Permanent for values that do not fit."""
    assert thing.created_at is not None
    row = check_values(data_type, thing.values)
    moment = format_date(thing.created_at)
    return PreparedThing(tuple(row), _to_record(thing, row, moment), _render(data_type, thing, row, moment))


async def insert_prepared(
    conn: Connection, *, environment: str, data_type: DataType, things: Sequence[PreparedThing]
) -> None:
    """Create things that were prepared for this type. Raises UniqueViolation; nothing was created then."""
    columns = sorted({column for thing in things for column in thing.columns})
    await conn.execute(insert_statement(environment, data_type, columns), [thing.record for thing in things])


def _render(data_type: DataType, thing: NewThing, row: Mapping[str, JsonValue], moment: str) -> Thing:
    return render_thing(data_type, id=thing.id, row=row, created_by=thing.created_by, moment=moment)


def to_record(thing: NewThing, row: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """What is written of a new thing whose checked values, by column, are `row`."""
    return _to_record(thing, row, None if thing.created_at is None else format_date(thing.created_at))


def _to_record(thing: NewThing, row: Mapping[str, JsonValue], created: str | None) -> dict[str, JsonValue]:
    return {**row, "_id": thing.id, "created_by": thing.created_by, "created_date": created}


async def update_things(
    conn: Connection, *, environment: str, data_type: DataType, changes: Sequence[ThingChange]
) -> dict[str, Thing]:
    """Change things; returns those that exist, by id. An id should occur once."""
    shapes: defaultdict[tuple[tuple[str, ...], ...], list[dict[str, JsonValue]]] = defaultdict(list)
    for change in changes:
        if not may_exist(change.id):
            continue
        for name in (*change.add, *change.remove):
            _require_list(data_type, name)
        parts = [
            check_values(data_type, part) for part in (change.values, _as_lists(change.add), _as_lists(change.remove))
        ]
        shape = tuple(tuple(sorted(part)) for part in parts)
        shapes[shape].append({"_id": change.id, "changed": parts[0], "added": parts[1], "removed": parts[2]})
    found: dict[str, Thing] = {}
    for shape, records in shapes.items():
        rows = await conn.fetch(update_statement(environment, data_type, shape), records)
        found |= {row["_id"]: read_thing(data_type, row["thing"]) for row in rows}
    return found


async def delete_things(conn: Connection, *, environment: str, data_type: DataType, ids: Sequence[str]) -> int:
    """Delete things; returns how many there were."""
    statement = f'DELETE FROM {qualified_table(environment, data_type.name)} WHERE "_id" = ANY($1::text[])'
    status = await conn.execute(statement, [id for id in ids if may_exist(id)])
    return int(status.split()[-1])


async def get_thing(conn: Connection, *, environment: str, data_type: DataType, id: str) -> Thing | None:
    """The thing with that id, or None."""
    statement = f'SELECT {json_of(data_type)} FROM {qualified_table(environment, data_type.name)} t WHERE "_id" = $1'
    thing = await conn.fetchval(statement, id) if may_exist(id) else None
    return None if thing is None else read_thing(data_type, thing)


async def find_missing(conn: Connection, *, environment: str, data_type: DataType, ids: Sequence[str]) -> set[str]:
    """Those of `ids` that name no thing of the type."""
    statement = f"""
        SELECT id FROM unnest($1::text[]) AS asked (id)
        WHERE NOT EXISTS (SELECT FROM {qualified_table(environment, data_type.name)} WHERE "_id" = asked.id)
    """
    return {row["id"] for row in await conn.fetch(statement, ids)}


async def find_type_of(conn: Connection, *, environment: str, types: Iterable[DataType], id: str) -> DataType | None:
    """The data type of the thing with that id, or None when there is no such thing."""
    by_name = {data_type.name: data_type for data_type in types}
    probes = " UNION ALL ".join(
        f'SELECT {position} AS position FROM {qualified_table(environment, name)} WHERE "_id" = $1'
        for position, name in enumerate(by_name)
    )
    position = await conn.fetchval(probes, id) if probes and may_exist(id) else None
    return None if position is None else by_name[list(by_name)[position]]


async def count_things(
    conn: Connection, *, environment: str, data_type: DataType, where: Where = None, seconds: float | None = None
) -> int:
    """How many things meet `where`. Raises ConstraintProblem; TimeoutError when it takes longer than `seconds`."""
    condition = compile_where(data_type, where)
    statement = f"SELECT count(*) FROM {qualified_table(environment, data_type.name)} t WHERE {condition.sql}"
    count: int = await conn.fetchval(statement, *condition.arguments, timeout=seconds)
    return count


@dataclass(frozen=True, slots=True)
class Order:
    """Sorted by a field, empty values last, then by id; None sorts by `Created Date`."""

    sort: str | None = None
    descending: bool = False
    further: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """What a page shows: at most `limit` things, from behind the keyset token `after`, or from position `skip`.

    `with_remaining` counts those after the page, which takes a second statement.
    """

    limit: int = 100
    after: str | None = None
    skip: int = 0
    with_remaining: bool = False


_ONE_FIELD: Final = "pages by `after` are sorted by one field; leave out the further ones, or page by position"


async def find_things(
    conn: Connection,
    *,
    environment: str,
    data_type: DataType,
    where: Where = None,
    order: Order = Order(),
    window: Window = Window(),
) -> Page:
    """The things that meet `where`, in `order`, as far as `window` shows them.

    Raises ConstraintProblem for what cannot be sorted or constrained, and for a token that is not ours.
    """
    condition = compile_where(data_type, where)
    by = _sortable(data_type, order.sort) if order.sort else _CREATED
    if window.after is not None:
        if order.further:
            raise ConstraintProblem(_ONE_FIELD)
        condition.clauses.append(_behind(condition, by, order.descending, window.after))
    matching, arguments = condition.sql, list(condition.arguments)
    table = qualified_table(environment, data_type.name)
    ordering = _order_by(data_type, by, order)
    limit, skip = max(window.limit, 0), max(window.skip, 0)
    one_more, first = condition.bind(limit + 1), condition.bind(min(skip, _MAX_SKIP))
    # The inner query sorts and cuts before the outer one makes JSON: in one query, PostgreSQL makes JSON of every thing
    # that it sorts or skips, which took a second per hundred thousand.
    rows = await conn.fetch(
        f"""
        SELECT {json_of(data_type)} AS thing, t.{quote_identifier(by.column)}::text AS sort_key
        FROM (
            SELECT t.* FROM {table} t
            WHERE {matching}
            ORDER BY {ordering}
            LIMIT {one_more}::bigint OFFSET {first}::bigint
        ) t
        ORDER BY {ordering}
        """,
        *condition.arguments,
    )
    shown, token = rows[:limit], None
    remaining = 0 if window.with_remaining else None
    if window.with_remaining and len(rows) > len(shown):
        total = await conn.fetchval(f"SELECT count(*) FROM {table} t WHERE {matching}", *arguments)
        remaining = max(total - skip - len(shown), 0)
    if len(rows) > len(shown) and shown and not order.further:
        token = _token(shown[-1]["sort_key"], shown[-1]["thing"]["_id"])
    return Page([read_thing(data_type, row["thing"]) for row in shown], token, remaining)


def _order_by(data_type: DataType, by: DataField, order: Order) -> str:
    sorts = [(by, order.descending), *((_sortable(data_type, name), falls) for name, falls in order.further)]
    terms = []
    for known, falls in sorts:
        # Said where it matters only: an index read backwards has its empty values first, so it would not serve.
        nulls = "" if known.column in _ALWAYS_SET else " NULLS LAST"
        terms.append(f"t.{quote_identifier(known.column)} {'DESC' if falls else 'ASC'}{nulls}")
    return ", ".join((*terms, 't."_id"'))


def _behind(condition: Condition, by: DataField, descending: bool, after: str) -> str:
    sort_key, last_id = _read_token(by, after)
    column, id_parameter = quote_identifier(by.column), condition.bind(last_id)
    if sort_key is None:
        return f'({column} IS NULL AND "_id" > {id_parameter})'
    value = f"{condition.bind(sort_key)}::text::{sql_type(by.type)}"
    sign = "<" if descending else ">"
    if by.column in _ALWAYS_SET:
        # an index serves this form
        return f'({column} {sign}= {value} AND ({column} {sign} {value} OR "_id" > {id_parameter}))'
    return f'({column} {sign} {value} OR ({column} = {value} AND "_id" > {id_parameter}) OR {column} IS NULL)'


def _token(sort_key: str | None, last_id: JsonValue) -> str:
    return base64.urlsafe_b64encode(exact_json.dumps([sort_key, last_id])).decode().rstrip("=")


def _read_token(by: DataField, token: str) -> tuple[str | None, str]:
    """The sort key and id of the last thing of a page. Raises ConstraintProblem for what no page with that order
    gave.
    """
    try:
        sort_key, last_id = _TOKEN.validate_json(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        if sort_key is not None:
            to_parameter(by, sort_key)
    except (ValueError, ConstraintProblem):
        raise ConstraintProblem(f"`after` has to be what an earlier page sorted by {by.name} gave") from None
    if not may_exist(last_id):
        raise ConstraintProblem(f"`after` has to be what an earlier page sorted by {by.name} gave")
    return sort_key, last_id


def _sortable(data_type: DataType, name: str) -> DataField:
    found = find_field(data_type, name)
    if found is None:
        raise ConstraintProblem(f"Unrecognized field: {name}")
    if found.type.is_list or is_json(found):
        raise ConstraintProblem(f"things cannot be sorted by {found.name}, which is a {found.type}")
    return found


def _as_lists(values: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {name: value if isinstance(value, list) or value is None else [value] for name, value in values.items()}


def _require_list(data_type: DataType, name: str) -> None:
    known = writable_field(data_type, name)
    if not known.type.is_list or is_json(known):
        raise Permanent(
            f"field {known.name!r} of type {data_type.name!r} is a {known.type}; only lists (not of addresses) are "
            "added to",
            kind="not_a_list",
        )
