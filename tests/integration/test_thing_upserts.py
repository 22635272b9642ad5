"""Upserts of many things at once: each as if it were alone."""

import asyncio

from pydantic import JsonValue

from penstock.db import Connection, Database
from penstock.deploying import deploy
from penstock.things.records import NewThing, Thing, count_things, create_things, get_thing
from tests.factories import build_app, build_thing, build_type

LIVE = "live"
ORDER = build_type(
    "order", {"number": "text", "total": "number", "paid": "boolean", "tags": "list of text"}, unique=(("number",),)
)
KEYED = build_type(
    "keyed",
    {"n": "number", "t": "text", "d": "date", "b": "boolean", "who": "user", "x": "text"},
    unique=(("n", "t", "d", "b", "who"),),
)


async def upsert(conn: Connection, *things: NewThing) -> list[Thing]:
    return await create_things(conn, environment=LIVE, data_type=ORDER, things=things, upsert=["number"])


async def test_many_keep_their_order_and_what_each_does_not_name(conn: Connection) -> None:
    await deploy(conn, environment=LIVE, app=build_app(ORDER))
    before = await upsert(conn, *(build_thing(number=str(number), paid=True) for number in range(0, 300, 2)))
    totals: list[dict[str, JsonValue]] = [{"number": str(number), "total": number} for number in range(0, 300, 3)]
    tags: list[dict[str, JsonValue]] = [
        {"number": str(number), "tags": [str(number)]} for number in range(300) if number % 3
    ]
    wanted = [*tags, *totals]
    after = await upsert(conn, *(build_thing(**values) for values in wanted))
    assert {thing["_id"] for thing in before} < {thing["_id"] for thing in after}
    assert len({str(thing["_id"]) for thing in after}) == 300
    for thing, values in zip(after, wanted, strict=True):
        assert values.items() <= thing.items()
        assert ("paid" in thing) == (int(str(thing["number"])) % 2 == 0)
        assert await get_thing(conn, environment=LIVE, data_type=ORDER, id=str(thing["_id"])) == thing


async def test_changes_of_one_thing_are_made_in_the_order_given(conn: Connection) -> None:
    await deploy(conn, environment=LIVE, app=build_app(ORDER))
    first, other, second, third = await upsert(
        conn,
        build_thing(number="1", total=1),
        build_thing(number="2"),
        build_thing(number="1", tags=["a"]),
        build_thing(number="1", total=3),
    )
    assert first["_id"] == second["_id"] == third["_id"] != other["_id"]
    assert [(thing.get("total"), thing.get("tags")) for thing in (first, second, third)] == [
        (1, None),
        (1, ["a"]),
        (3, ["a"]),
    ]


async def test_a_thing_is_known_again_whatever_its_key_holds(conn: Connection) -> None:
    await deploy(conn, environment=LIVE, app=build_app(KEYED))
    keys: list[dict[str, JsonValue]] = [
        {"n": number, "t": text, "d": "2024-02-29 12:00:00.5+02:00", "b": flag, "who": "1700000000000x1"}
        for number in (0, 0.1, 1e22, 1e-300, 5e-324, 1.7976931348623157e308, 2**63 - 1, -(2**63), 123456.789)
        for text in ("", " ", "'; --", "é", "e\u0301", "🧵", "{1,2}", "NULL")
        for flag in (True, False)
    ]
    made: list[list[Thing]] = []
    for x in ("1", "2"):
        things = [build_thing(**key, x=x) for key in keys]
        made.append(
            await create_things(
                conn, environment=LIVE, data_type=KEYED, things=things, upsert=["who", "b", "d", "n", "t"]
            )
        )
    assert [thing["_id"] for thing in made[0]] == [thing["_id"] for thing in made[1]]
    assert {thing["x"] for thing in made[1]} == {"2"}
    assert await count_things(conn, environment=LIVE, data_type=KEYED) == len(keys)


async def test_those_that_meet_make_one_thing_of_each_key(database: Database) -> None:
    await database.in_transaction(lambda conn: deploy(conn, environment=LIVE, app=build_app(ORDER)))
    batches = [[build_thing(number=str(number), total=batch) for number in range(50)] for batch in range(4)]
    batches[1].reverse()

    async def put(batch: list[NewThing]) -> list[Thing]:
        return await database.in_transaction(lambda conn: upsert(conn, *batch))

    made = await asyncio.gather(*(put(batch) for batch in batches))
    assert len({str(thing["_id"]) for things in made for thing in things}) == 50
