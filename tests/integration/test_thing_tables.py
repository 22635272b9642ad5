"""The tables of data types: what a deployment adds, what it refuses, and that it drops nothing unless asked to."""

import pytest

from penstock.db import Connection, Database, UniqueViolation
from penstock.definitions.models import DataType
from penstock.deploying import deploy, plan
from penstock.errors import ConfigurationError
from penstock.things.records import count_things, create_things, find_things
from penstock.things.tables import constraint_name, plan_pruning, plan_tables
from tests.factories import build_app, build_thing, build_type

LIVE = "live"
ORDER = build_type("order", {"number": "text", "total": "number"})


async def deploy_types(conn: Connection, *types: DataType, prune: bool = False) -> list[str]:
    """What a deployment of these types changed, in words."""
    async with conn.transaction():
        deployed = await deploy(conn, environment=LIVE, app=build_app(*types), prune=prune)
    assert await plan_tables(conn, environment=LIVE, types=build_app(*types).types) == [], "nothing is left to do"
    assert not prune or await plan_pruning(conn, environment=LIVE, types=build_app(*types).types) == []
    return [change.description for change in deployed.plan.tables]


async def get_columns(conn: Connection, table: str) -> dict[str, str]:
    rows = await conn.fetch(
        "SELECT column_name, udt_name FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2",
        LIVE,
        table,
    )
    return {row["column_name"]: row["udt_name"] for row in rows}


async def test_every_type_has_a_table_with_typed_columns(conn: Connection) -> None:
    fields = {
        "Text": "text",
        "number": "number",
        "yes/no": "boolean",
        "date": "date",
        "who": "user",
        "where": "geographic address",
    }
    lists = {f"{name}s": f"list of {kind}" for name, kind in fields.items()}
    kind = build_type("order", fields | lists | {"file": "file", "image": "image"})
    changes = await deploy_types(conn, kind)
    assert "add type order to live" in changes
    assert "add type user to live" in changes
    assert await get_columns(conn, "order") == {
        "_id": "text", "created_date": "timestamptz", "modified_date": "timestamptz", "created_by": "text",
        "slug": "text",
        "text": "text", "number": "numeric", "yes_no": "bool", "date": "timestamptz", "who": "text", "where": "jsonb",
        "texts": "_text", "numbers": "_numeric", "yes_nos": "_bool", "dates": "_timestamptz", "whos": "_text",
        "wheres": "jsonb",
        "file": "text", "image": "text",
    }  # fmt: skip
    assert await get_columns(conn, "user") == {
        "_id": "text", "created_date": "timestamptz", "modified_date": "timestamptz", "created_by": "text",
        "slug": "text", "email": "text"
    }  # fmt: skip


async def test_the_same_types_change_nothing(conn: Connection) -> None:
    kind = build_type(
        "order", {"number": "text", "tags": "list of number", "at": "list of date"}, unique=(("number",),)
    )
    await deploy_types(conn, kind)
    assert await deploy_types(conn, kind) == []


async def test_a_field_is_added_to_a_table_in_use(database: Database) -> None:
    async with database.connection() as other, database.connection() as conn:
        await deploy_types(conn, ORDER)
        await create_things(other, environment=LIVE, data_type=ORDER, things=[build_thing(number="1")])
        wider = build_type("order", {"number": "text", "total": "number", "paid": "boolean"})
        assert await deploy_types(conn, wider) == ["add field paid (boolean) to type order in live"]
        # Another connection, which has planned its statements for the table as it was.
        await create_things(other, environment=LIVE, data_type=ORDER, things=[build_thing(number="2")])
        await create_things(other, environment=LIVE, data_type=wider, things=[build_thing(number="3", paid=True)])
        found = await find_things(other, environment=LIVE, data_type=wider)
    assert [(thing["number"], thing.get("paid")) for thing in found.results] == [("1", None), ("2", None), ("3", True)]


@pytest.mark.parametrize("changed", ["boolean", "list of text", "date", "geographic address"])
async def test_a_field_of_another_type_is_refused_by_name(conn: Connection, changed: str) -> None:
    await deploy_types(conn, ORDER)
    await create_things(conn, environment=LIVE, data_type=ORDER, things=[build_thing(total=1)])
    with pytest.raises(
        ConfigurationError, match=f"field 'total' of type 'order' is numeric in live and {changed} needs"
    ):
        await deploy_types(conn, build_type("order", {"number": "text", "total": changed}), build_type("another", {}))
    assert await get_columns(conn, "another") == {}, "nothing of a refused deployment stays"


async def test_uniques_are_added_and_dropped(conn: Connection) -> None:
    fields = {"a": "text", "b_c": "number", "a_b": "text", "c": "number"}
    grouped = build_type("pair", fields, unique=(("a", "b_c"), ("a_b", "c"), ("c",)))
    await deploy_types(conn, build_type("pair", fields))
    assert await deploy_types(conn, grouped) == [
        "make a + b_c unique in type pair of live",
        "make a_b + c unique in type pair of live",
        "make c unique in type pair of live",
    ]
    assert [
        change.split(" in ")[0].rpartition("_")[0] for change in await deploy_types(conn, build_type("pair", fields))
    ] == [
        f"drop unique constraint {constraint_name('pair', columns).removesuffix('_unique')}"
        for columns in sorted(
            (("a", "b_c"), ("a_b", "c"), ("c",)), key=lambda columns: constraint_name("pair", columns)
        )
    ]


async def test_what_was_added_to_a_table_by_hand_stays(conn: Connection) -> None:
    await deploy_types(conn, ORDER)
    await conn.execute('ALTER TABLE live."order" ADD CONSTRAINT by_hand UNIQUE (number)')
    assert await deploy_types(conn, ORDER) == []
    assert await conn.fetchval("SELECT count(*) FROM pg_constraint WHERE conname = 'by_hand'") == 1


async def test_built_in_fields_can_be_unique(conn: Connection) -> None:
    page = build_type("page", {"shop": "text"}, unique=(("shop", "Slug"),))
    await deploy_types(conn, page)
    things = [build_thing(shop="a", Slug="home"), build_thing(shop="b", Slug="home")]
    await create_things(conn, environment=LIVE, data_type=page, things=things)
    with pytest.raises(UniqueViolation):
        await create_things(conn, environment=LIVE, data_type=page, things=[build_thing(shop="a", Slug="home")])
    again = await create_things(
        conn, environment=LIVE, data_type=page, things=[build_thing(shop="a", Slug="home")], upsert=["shop", "Slug"]
    )
    assert again[0]["_id"] == things[0].id


def test_names_of_unique_constraints_are_never_shared_and_always_fit() -> None:
    columns = [("a", "b_c"), ("a_b", "c"), ("a_b_c",), ("x" * 63,), ("x" * 62 + "y",)]
    names = {constraint_name(kind, group) for kind in ("t", "t_a", "u" * 63) for group in (*columns, ("b_c",))}
    assert len(names) == 18
    assert max(map(len, names)) <= 63


async def test_duplicates_stand_in_the_way_of_a_unique_field(conn: Connection) -> None:
    await deploy_types(conn, ORDER)
    await create_things(
        conn, environment=LIVE, data_type=ORDER, things=[build_thing(number="A-1"), build_thing(number="A-1")]
    )
    with pytest.raises(ConfigurationError) as caught:
        await deploy_types(conn, build_type("order", {"number": "text", "total": "number"}, unique=(("number",),)))
    message = (
        "cannot make number unique in type order of live: Key (number)=(A-1) is duplicated.; change those things first"
    )
    assert str(caught.value) == message
    assert (await deploy_types(conn, ORDER)) == []


async def test_only_pruning_drops_what_is_no_longer_defined(conn: Connection) -> None:
    full = build_type("order", {"number": "text", "total": "number"}, unique=(("number",),))
    old = build_type("old", {"x": "text"})
    await deploy_types(conn, full, old)
    await create_things(conn, environment=LIVE, data_type=full, things=[build_thing(number="1", total=2)])
    less = build_type("order", {"total": "number"})
    (dropped,) = await deploy_types(conn, less)
    assert dropped.startswith("drop unique constraint order_number_"), "a rule, not values"
    assert (await find_things(conn, environment=LIVE, data_type=full)).results[0]["number"] == "1"
    planned = await plan(conn, environment=LIVE, app=build_app(less), prune=True)
    assert {(change.kind, change.description) for change in planned.tables} == {
        ("remove", "drop column number and its values from type order in live"),
        ("remove", "drop table old and all its things from live"),
    }
    assert await count_things(conn, environment=LIVE, data_type=old) == 0, "a plan changes nothing"
    await deploy_types(conn, less, prune=True)
    assert "number" not in await get_columns(conn, "order")
    assert await get_columns(conn, "old") == {}
    assert await get_columns(conn, "user"), "the type that always exists stays"
    assert (await find_things(conn, environment=LIVE, data_type=less)).results[0]["total"] == 2


async def test_numbers_that_json_does_not_know_stay_out_of_tables(conn: Connection) -> None:
    await deploy_types(conn, ORDER)
    for value in ("NaN", "Infinity", "-Infinity"):
        refused = await conn.fetchval(
            """
            SELECT EXISTS (
                SELECT FROM pg_constraint
                WHERE conrelid = 'live.order'::regclass AND contype = 'c'
                    AND pg_get_constraintdef(oid) LIKE '%' || $1 || '%'
            )
            """,
            f"'{value}'",
        )
        assert refused, value
    await deploy_types(conn, build_type("sums", {"parts": "list of number"}))
    definition = await conn.fetchval(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'sums_parts_check'"
    )
    assert definition == "CHECK ((NOT (parts && '{NaN,Infinity,-Infinity}'::numeric[])))"
