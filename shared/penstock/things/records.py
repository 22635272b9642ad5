"""Things: created, changed, deleted and found, many in one statement.

A thing in JSON, as expressions and the Data API see it: `_id`, `Created Date`, `Modified Date`, `Created By`, `Slug`,
and its fields by name; empty fields (null, or a list of nothing) are left out; dates are `2022-12-22T09:45:37.369Z`;
whole numbers are integers. Values are checked before they are written: `thing_values.check_values` raises Permanent
with the field and what it expects.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from pydantic import JsonValue

from penstock.db import Connection, Record
from penstock.definitions.models import DataType
from penstock.definitions.values import format_date
from penstock.errors import Permanent
from penstock.things.clauses import Condition
from penstock.things.constraints import Restricted, Search, Where, compile_where
from penstock.things.json import is_json, json_of, read_thing, render_thing
from penstock.things.ordering import BY_AGE, Half, Order, Ordering
from penstock.things.privacy import EVERYTHING, Guards, Viewer
from penstock.things.statements import insert_statement, update_statement
from penstock.things.tables import qualified_table
from penstock.things.upserts import upsert_rows
from penstock.things.values import check_values, may_exist, writable_field

Thing = dict[str, JsonValue]
MAX_PAGE: Final = 10_000
_MAX_SKIP: Final = 2**62
_MANY_SKIPPED: Final = 1_000


@dataclass(slots=True)  # not frozen, which costs five times as much: each run or request makes some
class NewThing:
    """A thing to be created: its id, its values by field name, who creates it, and when (None: now, by the database's
    clock).
    """

    id: str
    values: Mapping[str, JsonValue]
    created_by: str | None = None
    created_at: datetime | None = None


@dataclass(slots=True)  # not frozen, which costs five times as much: each run or request makes some
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
    columns, moment = tuple(row), format_date(thing.created_at)
    shown = render_thing(data_type, id=thing.id, row=row, created_by=thing.created_by, moment=moment)
    row["_id"], row["created_by"], row["created_date"] = thing.id, thing.created_by, moment
    return PreparedThing(columns, row, shown)


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
    created = None if thing.created_at is None else format_date(thing.created_at)
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


async def get_thing(
    conn: Connection, *, environment: str, data_type: DataType, id: str, viewer: Viewer = EVERYTHING
) -> Thing | None:
    """The thing with that id, as far as `viewer` may see it; None if it does not exist or may not be found."""
    if not may_exist(id):
        return None
    if viewer.is_bound(data_type):
        where = Restricted({"_id": id}, viewer)
        page = await find_things(conn, environment=environment, data_type=data_type, where=where, window=Window(1))
        return page.results[0] if page.results else None
    statement = f'SELECT {json_of(data_type)} FROM {qualified_table(environment, data_type.name)} t WHERE "_id" = $1'
    thing = await conn.fetchval(statement, id)
    return None if thing is None else read_thing(data_type, thing)


async def show_things(
    conn: Connection, *, environment: str, data_type: DataType, things: Sequence[Thing], viewer: Viewer
) -> list[Thing]:
    """Things as they are stored, as far as `viewer` may see them: those without the fields that rules hide."""
    if not viewer.is_bound(data_type):
        return list(things)
    condition = Condition()
    guards = Guards(condition, data_type, viewer)
    rows = await conn.fetch(
        f"""
        SELECT t."_id", {guards.held} AS held FROM {qualified_table(environment, data_type.name)} t
        WHERE t."_id" = ANY({condition.bind([str(thing["_id"]) for thing in things])}::text[])
        """,
        *condition.arguments,
    )
    held = {row["_id"]: row["held"] for row in rows}
    return [guards.show(thing, held[id]) if (id := thing["_id"]) in held else {"_id": id} for thing in things]


async def lock_thing(conn: Connection, *, environment: str, data_type: DataType, id: str) -> None:
    """Keep the thing as it is until the transaction ends, if there is one."""
    if may_exist(id):
        table = qualified_table(environment, data_type.name)
        await conn.execute(f'SELECT FROM {table} WHERE "_id" = $1 FOR UPDATE', id)


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
    conn: Connection, *, environment: str, data_type: DataType, where: Where = None, seconds: float | None = None,
    until: datetime | None = None,
) -> int:  # fmt: skip
    """How many things meet `where` and were created before `until`. Raises ConstraintProblem; TimeoutError when it
    takes longer than `seconds`.
    """
    condition = compile_where(data_type, where)
    _bound(condition, until)
    statement = f"SELECT count(*) FROM {qualified_table(environment, data_type.name)} t WHERE {condition.sql}"
    count: int = await conn.fetchval(statement, *condition.arguments, timeout=seconds)
    return count


def _bound(search: Search, until: datetime | None) -> None:
    """Who searches need not see when a thing was created: it is not a constraint of theirs."""
    if until is not None:
        search.clauses.append(f"t.created_date < {search.bind(until.isoformat())}::text::timestamptz")


@dataclass(frozen=True, slots=True)
class Window:
    """What a page shows: at most `limit` things, from behind the keyset token `after`, or from position `skip`; created
    before `until`, if that is given.

    `with_remaining` counts those after the page, which takes a second statement.
    """

    limit: int = 100
    after: str | None = None
    skip: int = 0
    with_remaining: bool = False
    until: datetime | None = None


async def find_things(
    conn: Connection,
    *,
    environment: str,
    data_type: DataType,
    where: Where = None,
    order: Order = BY_AGE,
    window: Window = Window(),
) -> Page:
    """The things that meet `where`, in `order`, as far as `window` shows them.

    Raises ConstraintProblem for what cannot be sorted or constrained, and for a token that is not ours.
    """
    search, place = compile_where(data_type, where), None
    _bound(search, window.until)
    within = search.sql
    if window.after is not None:
        paging = Ordering(search, data_type, order)
        place = paging.find_place(search, window.after)
        search.clauses.append(paging.behind(place))
    matching, arguments = search.sql, list(search.arguments)
    ordering, table = Ordering(search, data_type, order), qualified_table(environment, data_type.name)
    limit, skip = max(window.limit, 0), max(window.skip, 0)
    one_more, first = search.bind(limit + 1), search.bind(min(skip, _MAX_SKIP))
    held = "" if search.guards is None else f", {search.guards.held} AS held"
    cut = _Cut(table, ordering.sql, one_more, first)
    halves = ordering.halves(place) if skip < _MANY_SKIPPED else ()
    chosen = _choose_halves(cut, within, halves) if halves else _choose(cut, matching, is_deep=skip >= _MANY_SKIPPED)
    # The inner query sorts and cuts before the outer one makes JSON: in one query, PostgreSQL makes JSON of every thing
    # that it sorts or skips, which took a second per hundred thousand.
    rows = await conn.fetch(
        f"""
        SELECT {json_of(data_type)} AS thing, {ordering.key} AS sort_key{held}
        FROM ({chosen}) t
        ORDER BY {ordering.sql}
        """,
        *search.arguments,
    )
    shown, token = rows[:limit], None
    remaining = 0 if window.with_remaining else None
    if window.with_remaining and len(rows) > len(shown):
        total = await conn.fetchval(f"SELECT count(*) FROM {table} t WHERE {matching}", *arguments)
        remaining = max(total - skip - len(shown), 0)
    if len(rows) > len(shown) and shown:
        token = ordering.token(shown[-1]["sort_key"], shown[-1]["thing"]["_id"])
    return Page([_show(search, data_type, row) for row in shown], token, remaining)


class _Cut(NamedTuple):
    """A part of the things of a table: their order, how many (one more than are shown), and behind how many."""

    table: str
    order: str
    most: str
    first: str


def _choose(cut: _Cut, matching: str, *, is_deep: bool) -> str:
    """The rows of a page, as a query."""
    limits = f"LIMIT {cut.most}::bigint OFFSET {cut.first}::bigint"
    found = f"FROM {cut.table} t WHERE {matching} ORDER BY {cut.order} {limits}"
    if is_deep:
        # Of things that are skipped by the thousand, an index of ids is read where there is one, and not the things.
        return f'SELECT t.* FROM (SELECT t."_id" {found}) k JOIN {cut.table} t ON t."_id" = k."_id"'
    return f"SELECT t.* {found}"


def _choose_halves(cut: _Cut, within: str, halves: Sequence[Half]) -> str:
    """The rows of a page, of which each half is read by itself, in the order of an index."""
    parts = (
        f"(SELECT t.* FROM {cut.table} t WHERE {within} AND {half.condition} ORDER BY {half.order} "
        f"LIMIT {cut.most}::bigint + {cut.first}::bigint)"
        for half in halves
    )
    limits = f"LIMIT {cut.most}::bigint OFFSET {cut.first}::bigint"
    return f"SELECT t.* FROM ({' UNION ALL '.join(parts)}) t ORDER BY {cut.order} {limits}"


def _show(search: Search, data_type: DataType, row: Record) -> Thing:
    thing = read_thing(data_type, row["thing"])
    return thing if search.guards is None else search.guards.show(thing, row["held"])


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
