"""Pages give each thing once and in order, by keyset and by position."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from penstock.db import Connection
from penstock.definitions.models import DataType
from penstock.deploying import deploy
from penstock.things.clauses import ConstraintProblem
from penstock.things.ordering import Order
from penstock.things.records import NewThing, Thing, Window, create_things, find_things
from tests.factories import build_app, build_thing, build_type
from tests.integration.things.orders import LIVE, ORDER, create, is_storable, update


async def read_all(conn: Connection, order: Order, *, limit: int, data_type: DataType = ORDER) -> list[Thing]:
    """All things, page by page."""
    things: list[Thing] = []
    after = None
    while True:
        page = await find_things(
            conn, environment=LIVE, data_type=data_type, order=order, window=Window(limit, after, with_remaining=True)
        )
        things += page.results
        assert len(page.results) <= limit
        assert (page.after is None) == (page.remaining == 0)
        if page.after is None:
            return things
        after = page.after


async def fill(conn: Connection) -> dict[JsonValue, Thing]:
    """Things with ties and gaps in every field."""
    things = []
    for number in range(23):
        values: dict[str, JsonValue] = {
            "total": number % 3 - 1 if number % 4 else None,
            "paid": [True, False, None][number % 3],
        }
        values |= {
            "placed": f"2020-01-0{number % 5 + 1}" if number % 5 else None,
            "Slug": ["a", "b", "é", None, "B"][number % 5],
        }
        moment = datetime(2026, 1, 1 + number // 7, tzinfo=UTC)
        things.append(NewThing(build_thing().id, values, f"1x{number % 2}" if number % 3 else None, moment))
    created = await create_things(conn, environment=LIVE, data_type=ORDER, things=things)
    return {thing["_id"]: thing for thing in created}


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    "sort", [None, "_id", "Created Date", "Modified Date", "total", "paid", "placed", "Slug", "Created By"]
)
async def test_keyset_pages_give_each_thing_once_and_in_order(
    orders: Connection, sort: str | None, descending: bool
) -> None:
    created = await fill(orders)
    things = await read_all(orders, Order(sort, descending), limit=4)
    assert {thing["_id"]: thing for thing in things} == created
    assert len(things) == len(created)
    whole = await find_things(orders, environment=LIVE, data_type=ORDER, order=Order(sort, descending))
    assert whole.results == things
    by = sort or "Created Date"
    has_value = [by in thing for thing in things]
    assert has_value == sorted(has_value, reverse=True), "empty ones come last"
    if by not in {"Slug", "total"}:  # the order of texts is the database's; that of numbers has a test of its own
        filled = [str(thing[by]).lower() for thing in things if by in thing]
        assert filled == sorted(filled, reverse=descending)


async def test_fields_may_be_named_like_what_a_search_calls_its_own(conn: Connection) -> None:
    names = ("thing", "sort_key", "t", "q", "moment", "item", "place", "changed", "count")
    kind = build_type("named", dict.fromkeys(names, "text") | {"items": "list of text"})
    await deploy(conn, environment=LIVE, app=build_app(kind))
    later, sooner = [await create(conn, kind, **dict.fromkeys(names, text), items=["a"]) for text in ("z", "a")]
    for name in names:
        page = await find_things(
            conn, environment=LIVE, data_type=kind, where={"items": ["a"]}, order=Order(name), window=Window(1)
        )
        rest = await find_things(
            conn, environment=LIVE, data_type=kind, order=Order(name), window=Window(after=page.after)
        )
        assert [thing["_id"] for thing in (*page.results, *rest.results)] == [sooner["_id"], later["_id"]], name
    changed = await update(
        conn, later["_id"], kind, values=dict.fromkeys(names, "b"), add={"items": "b"}, remove={"items": "a"}
    )
    assert {changed[name] for name in names} == {"b"}
    assert changed["items"] == ["b"]


async def test_keyset_pages_survive_microseconds_written_by_others(orders: Connection) -> None:
    created = await fill(orders)
    await orders.execute(
        """UPDATE live."order" SET created_date = created_date + random() * interval '2 ms',
           placed = now() - random() * interval '2 ms'
        """
    )
    for sort in ("Created Date", "placed"):
        for descending in (False, True):
            things = await read_all(orders, Order(sort, descending), limit=3)
            assert Counter(str(thing["_id"]) for thing in things) == Counter(map(str, created))


@given(
    totals=st.lists(st.none() | st.integers(-2, 2) | st.floats(allow_nan=False, allow_infinity=False), max_size=12),
    limit=st.integers(1, 5),
    descending=st.booleans(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_pages_of_any_numbers_are_complete(
    orders: Connection, totals: list[float | None], limit: int, descending: bool
) -> None:
    await orders.execute('TRUNCATE live."order"')
    await create_things(
        orders, environment=LIVE, data_type=ORDER, things=[build_thing(total=total) for total in totals]
    )
    numbers = [thing.get("total") for thing in await read_all(orders, Order("total", descending), limit=limit)]
    found = [float(number) if isinstance(number, int) else number for number in numbers]
    filled = sorted((float(total) for total in totals if total is not None), reverse=descending)
    assert found == [*filled, *[None] * (len(totals) - len(filled))]


@given(slugs=st.lists(st.none() | st.text(max_size=3).filter(is_storable), max_size=12), descending=st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_pages_of_any_texts_are_complete(orders: Connection, slugs: list[str | None], descending: bool) -> None:
    await orders.execute('TRUNCATE live."order"')
    things = [build_thing() for _ in slugs]
    await create_things(orders, environment=LIVE, data_type=ORDER, things=things)
    # Others than us write what they like.
    written = [(thing.id, slug) for thing, slug in zip(things, slugs, strict=True)]
    await orders.executemany('UPDATE live."order" SET slug = $2 WHERE _id = $1', written)
    found = Counter(str(thing.get("Slug")) for thing in await read_all(orders, Order("Slug", descending), limit=2))
    whole = await find_things(orders, environment=LIVE, data_type=ORDER, window=Window(len(slugs) + 1))
    assert found == Counter(str(thing.get("Slug")) for thing in whole.results)
    assert found.total() == len(slugs)


async def test_pages_by_position_tell_how_many_remain(orders: Connection) -> None:
    await create_things(
        orders, environment=LIVE, data_type=ORDER, things=[build_thing(total=number) for number in range(10)]
    )
    where: JsonValue = [{"key": "total", "constraint_type": "greater than", "value": 1}]
    assert isinstance(where, list)
    seen = []
    for skip, remaining in ((0, 5), (3, 2), (6, 0), (9, 0), (10**30, 0)):
        page = await find_things(
            orders,
            environment=LIVE,
            data_type=ORDER,
            where=where,
            order=Order("total"),
            window=Window(3, skip=skip, with_remaining=True),
        )
        assert page.remaining == remaining
        seen += [thing["total"] for thing in page.results]
    assert seen == list(range(2, 10))


@pytest.mark.parametrize("limit", [0, -1, -5])
async def test_a_page_of_nothing_is_empty(orders: Connection, limit: int) -> None:
    await create(orders)
    page = await find_things(orders, environment=LIVE, data_type=ORDER, window=Window(limit, with_remaining=True))
    assert (page.results, page.after, page.remaining) == ([], None, 1)


async def test_further_fields_break_ties(orders: Connection) -> None:
    things = [
        build_thing(total=total, Slug=slug) for total, slug in ((1, "a"), (2, "b"), (1, "c"), (None, "d"), (1, None))
    ]
    await create_things(orders, environment=LIVE, data_type=ORDER, things=things)
    order = Order("total", further=(("slug", True),))
    page = await find_things(orders, environment=LIVE, data_type=ORDER, order=order, window=Window(4))
    assert [thing.get("Slug") for thing in page.results] == ["c", "a", None, "b"]
    assert page.after is None
    with pytest.raises(ConstraintProblem, match="sorted by one field"):
        await find_things(
            orders, environment=LIVE, data_type=ORDER, order=order, window=Window(after="W251bGwsIjF4MSJd")
        )


@pytest.mark.parametrize(
    "after",
    [
        "",
        "x",
        "é",
        "bnVsbA",
        "NQ",
        "WzEsMl0",
        "W251bGwsIgAiXQ",
        "WyJhYmMiLCIxeDEiXQ",
        "WyJOYU4iLCIxeDEiXQ",
        "WyIxIiwiYVx1MDAwMCJd",
    ],
)
async def test_tokens_that_are_not_ours_are_refused(orders: Connection, after: str) -> None:
    await create(orders, total=1)
    with pytest.raises(ConstraintProblem, match="`after` has to be what an earlier page sorted by total gave"):
        await find_things(orders, environment=LIVE, data_type=ORDER, order=Order("total"), window=Window(after=after))


@pytest.mark.parametrize(
    ("sort", "message"),
    [
        ("nothing", "Unrecognized field: nothing"),
        ("tags", "things cannot be sorted by tags, which is a list of text"),
        ("place", "things cannot be sorted by place, which is a geographic address"),
        ("total; DROP", "Unrecognized field"),
    ],
)
async def test_what_cannot_be_sorted_by_is_refused(orders: Connection, sort: str, message: str) -> None:
    for order in (Order(sort), Order("total", further=((sort, False),))):
        with pytest.raises(ConstraintProblem, match=message):
            await find_things(orders, environment=LIVE, data_type=ORDER, order=order)
