"""Fields of every type: option sets, date ranges, indexes, and columns that get another type."""

from decimal import Decimal

import pytest
from pydantic import JsonValue

from penstock.db import Connection
from penstock.definitions.models import DataType, FieldType, ScalarType
from penstock.definitions.options import Options
from penstock.deploying import deploy, plan
from penstock.errors import ConfigurationError, Permanent
from penstock.things.records import ThingChange, create_things, find_things, get_thing, update_things
from tests.factories import build_app, build_thing, build_type

LIVE = "live"
DAYS = ["2026-01-01T00:00:00.000Z", "2026-01-31T12:00:00.000Z"]
STAY = build_type("stay", {"dates": "date range", "all": "list of date range", "name": "text"})


async def put(conn: Connection, *types: DataType) -> list[str]:
    async with conn.transaction():
        deployed = await deploy(conn, environment=LIVE, app=build_app(*types))
    return [change.description for change in deployed.plan.tables]


async def create(conn: Connection, data_type: DataType, **values: JsonValue) -> str:
    (thing,) = await create_things(conn, environment=LIVE, data_type=data_type, things=[build_thing(**values)])
    assert await get_thing(conn, environment=LIVE, data_type=data_type, id=str(thing["_id"])) == thing
    return str(thing["_id"])


async def find(conn: Connection, data_type: DataType, key: str, kind: str, value: JsonValue) -> list[JsonValue]:
    where: list[JsonValue] = [{"key": key, "constraint_type": kind, "value": value}]
    page = await find_things(conn, environment=LIVE, data_type=data_type, where=where)
    return [thing.get("name") for thing in page.results]


async def test_a_date_range_is_a_range_of_postgresql_and_a_list_of_two_dates_here(conn: Connection) -> None:
    await put(conn, STAY)
    await create(conn, STAY, name="a", dates=[*DAYS], all=[[*DAYS], [DAYS[0], DAYS[0]]])
    id = await create(conn, STAY, name="b", dates={"start": "2026-02-01", "end": 1772000000000})
    await create(conn, STAY, name="none")
    assert await conn.fetchval("SELECT array_agg(name) FROM live.stay WHERE dates @> '2026-01-20Z'::timestamptz") == [
        "a"
    ]
    assert await find(conn, STAY, "dates", "equals", [*DAYS]) == ["a"]
    assert await find(conn, STAY, "dates", "is_empty", None) == ["none"]
    assert await find(conn, STAY, "dates", "in", [[*DAYS], ["2026-02-01T00:00:00Z", 1772000000000]]) == ["a", "b"]
    changed = await update_things(conn, environment=LIVE, data_type=STAY, changes=[ThingChange(id, {"dates": [*DAYS]})])
    assert changed[id]["dates"] == DAYS


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([DAYS[1], DAYS[0]], "a date range ends before it begins"),
        ([DAYS[0]], "expected a date range, a list of two dates, got list"),
        ([None, DAYS[0]], "expected a date, got null"),
        ({"start": DAYS[0]}, "expected a date range, a list of two dates, got object"),
        ("soon", "expected a date range, a list of two dates, got text"),
    ],
)
async def test_what_is_no_date_range_is_refused(conn: Connection, value: JsonValue, reason: str) -> None:
    await put(conn, STAY)
    with pytest.raises(Permanent, match=reason):
        await create(conn, STAY, dates=value)


async def test_an_option_is_one_of_its_set(conn: Connection) -> None:
    options = Options("state", ("new", "paid"))
    kind = build_type("order", {"name": "text", "state": "text", "states": "list of text"})
    fields = tuple(
        known if known.name == "name" else known.model_copy(update={"type": known.type._replace(options=options)})
        for known in kind.fields
    )
    kind = kind.model_copy(update={"fields": fields})
    await put(conn, kind)
    await create(conn, kind, name="a", state="new", states=["paid", "new"])
    assert await find(conn, kind, "state", "equals", "new") == ["a"]
    assert await find(conn, kind, "states", "contains", "paid") == ["a"]
    for values in ({"state": "old"}, {"states": ["new", "old"]}):
        with pytest.raises(Permanent, match="expected one of new, paid"):
            await create(conn, kind, **values)


CONVERSIONS = [
    ("text", "12.50", "number", 12.5),
    ("text", "", "number", None),
    ("text", "yes", "boolean", True),
    ("text", "2026-01-01T00:00:00.000Z", "date", DAYS[0]),
    ("text", "Main Street 1", "geographic address", {"address": "Main Street 1"}),
    ("text", "a", "list of text", ["a"]),
    ("number", 12.5, "text", "12.5"),
    ("number", 3, "list of number", [3]),
    ("boolean", True, "text", "true"),
    ("boolean", True, "number", 1),
    ("date", DAYS[0], "text", DAYS[0]),
    ("date", DAYS[0], "date range", [DAYS[0], DAYS[0]]),
    ("list of text", ["1", "2"], "list of number", [1, 2]),
    ("user", "1700000000000x123456789012345678", "text", "1700000000000x123456789012345678"),
]


@pytest.mark.parametrize(("before", "value", "after", "becomes"), CONVERSIONS)
async def test_a_field_gets_another_type_with_its_values(
    conn: Connection, before: str, value: JsonValue, after: str, becomes: JsonValue
) -> None:
    old, new = build_type("order", {"field": before}), build_type("order", {"field": after})
    await put(conn, old)
    id = await create(conn, old, field=value)
    empty = await create(conn, old)
    await put(conn, new)
    thing = await get_thing(conn, environment=LIVE, data_type=new, id=id)
    nothing = await get_thing(conn, environment=LIVE, data_type=new, id=empty)
    assert (thing is not None, nothing is not None) == (True, True)
    assert (thing or {}).get("field") == becomes
    assert "field" not in (nothing or {})
    assert await put(conn, new) == [], "nothing is left to do"
    await create(conn, new, field=becomes)


async def test_the_checks_of_the_new_type_hold_after_a_conversion(conn: Connection) -> None:
    await put(conn, build_type("order", {"total": "text"}))
    await create(conn, build_type("order", {"total": "text"}), total="NaN")
    with pytest.raises(ConfigurationError, match="cannot convert field total from text to number in type order"):
        await put(conn, build_type("order", {"total": "number"}))
    await conn.execute("UPDATE live.\"order\" SET total = '1'")
    assert await put(conn, build_type("order", {"total": "number"})) == [
        "convert field total from text to number in type order of live"
    ]
    assert await conn.fetchval('SELECT total FROM live."order"') == Decimal(1)


async def test_a_value_that_cannot_be_converted_is_named_and_nothing_is_changed(conn: Connection) -> None:
    old = build_type("order", {"total": "text"})
    await put(conn, old)
    await create(conn, old, total="12 EUR")
    with pytest.raises(
        ConfigurationError, match='invalid input syntax for type numeric: "12 EUR"; change those things'
    ):
        await put(conn, build_type("order", {"total": "number"}))
    assert await conn.fetchval('SELECT total FROM live."order"') == "12 EUR"


async def test_a_conversion_of_many_things_says_who_waits(conn: Connection) -> None:
    await put(conn, build_type("order", {"total": "text"}))
    await conn.execute("UPDATE pg_class SET reltuples = 2000000 WHERE oid = 'live.\"order\"'::regclass")
    kind = build_type("order", {"total": "number"}).model_copy(update={"indexes": (("total",),)})
    planned = await plan(conn, environment=LIVE, app=build_app(kind))
    assert [change.note.partition(" of its things, about 2,000,000, wait")[0] for change in planned.tables] == [
        "reads and writes",
        "writes",
    ]


async def test_declared_indexes_are_made_and_dropped(conn: Connection) -> None:
    fields = {"total": "number", "name": "text", "tags": "list of text"}
    bare = build_type("order", fields)
    kind = bare.model_copy(update={"indexes": (("total",), ("name", "total"), ("tags",))})
    assert (await put(conn, kind))[-3:] == [
        "index type order in live by total", "index type order in live by name + total",
        "index type order in live by tags",
    ]  # fmt: skip
    assert await put(conn, kind) == []
    definitions = await conn.fetch(
        "SELECT indexdef FROM pg_indexes WHERE tablename = 'order' AND indexname ~ '_index$'"
    )
    assert sorted(row["indexdef"].partition(" USING ")[2] for row in definitions) == [
        "btree (name, total, _id)", "btree (total, _id)", "gin (tags)",
    ]  # fmt: skip
    dropped = await put(conn, bare)
    assert len(dropped) == 3
    assert all(description.startswith("drop index order_") for description in dropped)


def test_a_field_of_an_option_set_is_a_text() -> None:
    field_type = FieldType(ScalarType.TEXT, is_list=True, options=Options("state", ("new",)))
    assert (str(field_type), str(field_type.item), field_type.is_thing) == ("list of state", "state", False)
