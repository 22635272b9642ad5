"""Words and places are found by their indexes: the same things as without one, and without reading the whole table."""

import base64
import json
import math
import random
from typing import Any, cast

import pytest
from asyncpg.connection import LoggedQuery
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from penstock.db import Connection
from penstock.deploying import deploy
from penstock.things.constraints import Where
from penstock.things.ordering import BY_AGE, Order
from penstock.things.records import NewThing, count_things, create_things, find_things
from penstock.things.records import Window as Page
from tests.factories import build_app, build_type

LIVE = "live"
SHOP = build_type("shop", {"name": "text", "place": "geographic address", "size": "number"}).model_copy(
    update={"indexes": (("place",), ("size",)), "words": ("name",)}
)
EARTH_METRES = 6_371_008.8
FIRST = Page()
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ORIGINS = st.one_of(
    st.tuples(st.floats(-90, 90), st.floats(-180, 180)),
    st.sampled_from(
        [(90.0, 0.0), (-90.0, 10.0), (0.0, 180.0), (0.0, -180.0), (89.9, 179.9), (1e-320, 1e-300), (48.85, 2.35)]
    ),
)
METRES = st.one_of(st.floats(0, 3e7), st.sampled_from([0.0, 1.0, 1000.0, 5e5, 5_003_771.0, 1e7, 2.1e7]))
PLACES = [
    *((lat, lng) for lat in (-90, -89.9, -45, 0, 48.85, 89.9, 90) for lng in (-180, -179.9, -60, 0, 2.35, 179.9, 180)),
    *((lat, lng) for lat in (5e-324, -1e-300, 1e-9) for lng in (0, 1e-280, 1e-9)),
    *((random.Random(n).uniform(-90, 90), random.Random(-n).uniform(-180, 180)) for n in range(300)),
]


@pytest.fixture
async def shops(module_conn: Connection) -> Connection:
    """Shops at PLACES, and many without one of which every thousandth has a word of its own."""
    await deploy(module_conn, environment=LIVE, app=build_app(SHOP))
    if not await module_conn.fetchval("SELECT EXISTS (SELECT FROM live.shop)"):
        things = [
            NewThing(f"1x{number}", {"name": f"shop {number}", "place": {"lat": lat, "lng": lng}})
            for number, (lat, lng) in enumerate(PLACES)
        ]
        await create_things(module_conn, environment=LIVE, data_type=SHOP, things=things)
        await module_conn.execute(
            """
            INSERT INTO live.shop (_id, created_date, modified_date, name, place, size)
            SELECT '2x' || n, now(), now(), 'many ' || CASE WHEN n % 1000 = 0 THEN 'peppers' ELSE 'onions' END,
                   jsonb_build_object('lat', 10 + n / 20000.0, 'lng', 20 + (n * 7919 % 20000) / 20000.0), n
            FROM generate_series(1, 20000) n
            """
        )
        await module_conn.execute("ANALYZE live.shop")
    return module_conn


def distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Metres by the spherical law in its form with vectors, unlike the product's."""
    a, b = ([math.cos(lat) * math.cos(lng), math.cos(lat) * math.sin(lng), math.sin(lat)]
            for lat, lng in (map(math.radians, place) for place in (one, other)))  # fmt: skip
    cross = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    return EARTH_METRES * math.atan2(math.hypot(*cross), sum(x * y for x, y in zip(a, b, strict=True)))


def near(origin: tuple[float, float], metres: float) -> dict[str, JsonValue]:
    area: dict[str, JsonValue] = {
        "range": metres,
        "unit": "meters",
        "origin_address": {"lat": origin[0], "lng": origin[1]},
    }
    return {"key": "place", "constraint_type": "geographic_search", "value": area}


@SLOW
@given(origin=ORIGINS, metres=METRES)
async def test_what_is_near_is_what_a_plain_calculation_says(
    shops: Connection, origin: tuple[float, float], metres: float
) -> None:
    where: Where = [near(origin, metres), {"key": "size", "constraint_type": "is_empty"}]
    page = await find_things(shops, environment=LIVE, data_type=SHOP, where=where, window=Page(1000))
    found = {int(str(thing["_id"])[2:]) for thing in page.results}
    for number, place in enumerate(PLACES):
        away = distance(origin, place)
        if abs(away - metres) > 1:  # of what is just on the line, either may be said
            assert (number in found) == (away <= metres), (place, away)


async def plans_of(conn: Connection, where: Where, order: Order = BY_AGE, window: Page = FIRST) -> list[dict[str, Any]]:
    """The plans of the statements that count and find with `where`."""
    sent: list[tuple[str, tuple[object, ...]]] = []

    def note(record: LoggedQuery) -> None:
        sent.append((record.query, tuple(record.args or ())))

    with conn.query_logger(note):
        await find_things(conn, environment=LIVE, data_type=SHOP, where=where, order=order, window=window)
        if order is BY_AGE:
            await count_things(conn, environment=LIVE, data_type=SHOP, where=where)
    plans = []
    for query, arguments in sent:
        (row,) = await conn.fetch(f"EXPLAIN (FORMAT JSON) {query}", *arguments)
        plans.append(cast("dict[str, Any]", json.loads(row[0])[0]["Plan"]))
    return plans


def list_nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in list_nodes(child))]


@pytest.mark.parametrize(
    ("constraint", "index", "count"),
    [
        ({"key": "name", "constraint_type": "text contains", "value": "many peppers"}, "words_index", 20),
        (near((10.5, 20.5), 500), "place_index", 0),
        ({"key": "size", "constraint_type": "equals", "value": 17}, "_index", 1),
    ],
)
async def test_words_and_places_are_found_by_their_index(
    shops: Connection, constraint: dict[str, JsonValue], index: str, count: int
) -> None:
    found = await count_things(shops, environment=LIVE, data_type=SHOP, where=[constraint])
    assert found >= count
    for plan in await plans_of(shops, [constraint]):
        nodes = list_nodes(plan)
        assert not [node for node in nodes if node["Node Type"] == "Seq Scan"], plan
        assert [node for node in nodes if str(node.get("Index Name", "")).endswith(index)], plan


def token(size: int | None, id: str) -> str:
    """What a page sorted by size, whose last thing this is, gives for the next."""
    key = None if size is None else str(size)
    return base64.urlsafe_b64encode(json.dumps([key, id]).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("descending", "window", "first"),
    [
        (False, Page(10, skip=5), (6, "2x6")),
        (False, Page(10, token(15_000, "2x15000")), (15_001, "2x15001")),
        (False, Page(10, token(19_995, "2x19995")), (19_996, "2x19996")),
        (False, Page(10, token(None, "1x100")), (None, "1x101")),
        (True, Page(10), (20_000, "2x20000")),
        (True, Page(10, skip=5), (19_995, "2x19995")),
        (True, Page(10, token(15_000, "2x15000")), (14_999, "2x14999")),
        (True, Page(10, token(5, "2x5")), (4, "2x4")),
        (True, Page(10, token(None, "1x100")), (None, "1x101")),
    ],
)
async def test_pages_sorted_by_a_field_that_may_be_empty_are_read_in_the_order_of_its_index(
    shops: Connection, descending: bool, window: Page, first: tuple[int | None, str]
) -> None:
    order = Order("size", descending)
    page = await find_things(shops, environment=LIVE, data_type=SHOP, order=order, window=window)
    seen = [(thing.get("size"), thing["_id"]) for thing in page.results]
    assert (len(seen), seen[0]) == (10, first)
    filled = [size for size, _ in seen if isinstance(size, int)]
    empty = [str(id) for size, id in seen if size is None]
    assert filled == [(first[0] or 0) + (-step if descending else step) for step in range(len(filled))]
    assert [size for size, _ in seen] == [*filled, *[None] * len(empty)], "what is empty comes last"
    assert empty == sorted(empty)
    for plan in await plans_of(shops, None, order, window):
        nodes = list_nodes(plan)
        assert not [node for node in nodes if node["Node Type"] == "Seq Scan"], plan
        assert sum(node["Plan Rows"] for node in nodes if node["Node Type"] == "Sort") < 1000, plan


async def test_a_field_gets_another_type_although_its_words_or_places_have_an_index(conn: Connection) -> None:
    kind = build_type("t", {"a": "text", "b": "geographic address", "c": "text", "d": "text"}).model_copy(
        update={"indexes": (("b",), ("c",), ("d",)), "words": ("a",)}
    )
    await deploy(conn, environment=LIVE, app=build_app(kind))
    await conn.execute("INSERT INTO live.t (_id, created_date, modified_date, a) VALUES ('1x1', now(), now(), '12')")
    other = build_type(
        "t", {"a": "number", "b": "list of geographic address", "c": "list of text", "d": "geographic address"}
    ).model_copy(update={"indexes": (("c",), ("d",))})
    await deploy(conn, environment=LIVE, app=build_app(other))
    rows = await conn.fetch("SELECT indexdef FROM pg_indexes WHERE tablename = 't' AND indexname ~ '_index$'")
    assert sorted(row["indexdef"].partition(" USING ")[2].partition(" ")[0] for row in rows) == ["gin", "gist"]
