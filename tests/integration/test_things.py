"""Things in real tables: what is written is what is read, whatever it holds."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from penstock.db import Connection, UniqueViolation
from penstock.definitions.models import DataType
from penstock.deploying import deploy
from penstock.errors import Permanent
from penstock.things.constraints import ConstraintProblem
from penstock.things.records import (
    NewThing,
    Order,
    Thing,
    ThingChange,
    count_things,
    create_things,
    delete_things,
    find_things,
    find_type_of,
    get_thing,
    insert_prepared,
    prepare_thing,
    update_things,
)
from penstock.things.tables import USER
from tests.factories import build_app, build_thing, build_type

LIVE = "live"
ORDER = build_type(
    "order",  # a key word of SQL
    {
        "number": "text",
        "total": "number",
        "paid": "boolean",
        "placed": "date",
        "customer": "user",
        "place": "geographic address",
        "bill": "file",
        "tags": "list of text",
        "amounts": "list of number",
        "visits": "list of date",
        "friends": "list of user",
        "stops": "list of geographic address",
        "answers": "list of boolean",
    },
    unique=(("number",),),
)


@pytest.fixture
async def orders(module_conn: Connection) -> Connection:
    """A connection to a database with the type `order`, and no things."""
    await deploy(module_conn, environment=LIVE, app=build_app(ORDER))
    await module_conn.execute('TRUNCATE live."order", live."user"')
    return module_conn


async def create(conn: Connection, data_type: DataType = ORDER, /, **values: JsonValue) -> Thing:
    """The thing as created, which is what is read back."""
    (created,) = await create_things(conn, environment=LIVE, data_type=data_type, things=[build_thing(**values)])
    assert await get_thing(conn, environment=LIVE, data_type=data_type, id=str(created["_id"])) == created
    return created


async def update(conn: Connection, id: JsonValue, data_type: DataType = ORDER, **change: dict[str, JsonValue]) -> Thing:
    parts = ThingChange(str(id), change.get("values", {}), change.get("add", {}), change.get("remove", {}))
    return (await update_things(conn, environment=LIVE, data_type=data_type, changes=[parts]))[str(id)]


# ---- values


NASTY_TEXTS = [
    "",
    " ",
    '\'; DROP TABLE live."order"; --',
    "\" ' \\ \\' \\\\ $1 %s %% {} {0} ${x}",
    "👩‍👩‍👧‍👦 é e\u0301 \u202e right to left",
    "line\nfeed\r\ntab\t\x01\x7f\ufffe",
    "null",
    '{"a": 1}',
    '{a,NULL,"b"}',
    "x" * 1_000,
]


@pytest.mark.parametrize("text", NASTY_TEXTS)
async def test_text_is_read_back_as_written(orders: Connection, text: str) -> None:
    created = await create(orders, number=text, tags=[text, "other"])
    assert (created["number"], created["tags"]) == (text, [text, "other"])
    found = await find_things(
        orders, environment=LIVE, data_type=ORDER, where={"number": text, "tags": [text, "other"]}
    )
    assert found.results == [created]


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\ud800"])
async def test_text_that_cannot_be_stored_is_refused_by_field(orders: Connection, text: str) -> None:
    with pytest.raises(
        Permanent, match="field 'number' of type 'order': the text holds a character that cannot be stored"
    ):
        await create(orders, number=text)
    with pytest.raises(Permanent, match="field 'tags' of type 'order': item 1: the text holds"):
        await create(orders, tags=["a", text])
    with pytest.raises(ConstraintProblem, match="the value for number does not fit"):
        await find_things(orders, environment=LIVE, data_type=ORDER, where={"number": text})
    with pytest.raises(ConstraintProblem, match="the value for customer does not fit"):
        await find_things(orders, environment=LIVE, data_type=ORDER, where={"customer": text})


@pytest.mark.parametrize("id", ["", "\x00", "\ud800", "é", '\'; DROP TABLE live."order"; --'])
async def test_a_thing_whose_id_cannot_be_is_absent(orders: Connection, id: str) -> None:
    assert await get_thing(orders, environment=LIVE, data_type=ORDER, id=id) is None
    assert await find_type_of(orders, environment=LIVE, types=[ORDER], id=id) is None
    assert await delete_things(orders, environment=LIVE, data_type=ORDER, ids=[id]) == 0
    assert (
        await update_things(orders, environment=LIVE, data_type=ORDER, changes=[ThingChange(id, {"paid": True})]) == {}
    )


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (0, 0),
        (-0.0, 0),
        (1.0, 1),
        (2.50, 2.5),
        (0.1, 0.1),
        (1234567890.123456, 1234567890.123456),
        (2**53 + 1, 2**53 + 1),
        (-(2**63) + 1, -(2**63) + 1),
        (2.0**60, 1152921504606847000),
        (10**19, 10**19),
        (1e20, 1e20),
        (1e300, 1e300),
        (1.7976931348623157e308, 1.7976931348623157e308),
        (5e-324, 5e-324),
    ],
)
async def test_numbers_are_exact_and_whole_ones_are_integers(orders: Connection, written: float, read: float) -> None:
    created = await create(orders, total=written, amounts=[written, written])
    assert created["total"] == read
    assert created["amounts"] == [read, read]
    again = await get_thing(orders, environment=LIVE, data_type=ORDER, id=str(created["_id"]))
    assert again is not None
    amounts = again["amounts"]
    assert isinstance(amounts, list)
    assert {type(value) for value in (created["total"], again["total"], *amounts)} == {type(read)}
    assert await count_things(orders, environment=LIVE, data_type=ORDER, where={"total": written}) == 1


async def test_decimals_add_up_in_sql(orders: Connection) -> None:
    await create_things(orders, environment=LIVE, data_type=ORDER, things=[build_thing(total=0.1) for _ in range(10)])
    assert str(await orders.fetchval('SELECT sum(total) FROM live."order"')) == "1.0"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2022-12-22T09:45:37.369Z", "2022-12-22T09:45:37.369Z"),
        ("2022-12-22T09:45:37.369999Z", "2022-12-22T09:45:37.369Z"),
        ("2022-12-22T09:45:37+05:30", "2022-12-22T04:15:37.000Z"),
        ("2022-12-22", "2022-12-22T00:00:00.000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        (1453398788637, "2016-01-21T17:53:08.637Z"),
        ("01/13/2016", "2016-01-13T00:00:00.000Z"),
    ],
)
async def test_dates_have_milliseconds_in_utc(orders: Connection, written: str | int, read: str) -> None:
    created = await create(orders, placed=written, visits=[written, "2000-01-01"])
    assert (created["placed"], created["visits"]) == (read, [read, "2000-01-01T00:00:00.000Z"])


async def test_every_kind_of_field_is_read_back_as_written(orders: Connection) -> None:
    other = "1700000000000x123456789012345678"
    values: dict[str, JsonValue] = {
        "paid": False,
        "customer": other,
        "place": {"address": "Rue d'Artois", "lat": 48.5, "lng": 2},
        "bill": "//example.com/bill's.pdf",
        "tags": ["b", "a", "b"],
        "friends": [other],
        "stops": [{"address": "A"}, {"lat": 1.5, "lng": -2}],
        "answers": [True, False, True],
        "Slug": "a-slug",
    }
    created = await create(orders, **values)
    assert {name: created[name] for name in values} == values


async def test_ten_thousand_items_are_kept_in_order(orders: Connection) -> None:
    created = await create(
        orders,
        tags=[f"tag {number % 7000}" for number in range(10_000)],
        amounts=list(range(10_000, 0, -1)),
        visits=list(range(10_000)),
    )
    assert created["amounts"] == list(range(10_000, 0, -1))


async def test_empty_fields_are_left_out(orders: Connection) -> None:
    created = await create(orders, number=None, tags=[], visits=[], stops=[], place=None)
    assert created.keys() == {"_id", "Created Date", "Modified Date"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"total": "3"}, "field 'total' of type 'order': expected a number, got text"),
        ({"total": True}, "field 'total' of type 'order': expected a number, got boolean"),
        ({"total": float("nan")}, "expected a finite number"),
        ({"total": 10**400}, "expected a finite number"),
        ({"paid": 1}, "expected true or false"),
        ({"tags": "a"}, "expected a list, got text"),
        ({"customer": "nobody"}, "expected the id of a thing"),
        ({"numbr": "1"}, "type 'order' has no field 'numbr' that can be written; did you mean 'number'?"),
        ({"_id": "1x1"}, "no field '_id' that can be written"),
        ({"Created Date": "2022-12-22"}, "no field 'Created Date' that can be written"),
    ],
)
async def test_what_does_not_fit_is_refused_by_name(
    orders: Connection, values: dict[str, JsonValue], message: str
) -> None:
    with pytest.raises(Permanent) as caught:
        await create(orders, **values)
    assert message in str(caught.value)
    assert await count_things(orders, environment=LIVE, data_type=ORDER) == 0


async def test_field_names_may_hold_any_sign(conn: Connection) -> None:
    names = [
        'It\'s "so"',
        "50% $1 off",
        "a b",
        "faq.set q.add",
        "select",
        "-- x",
        "été",
        "\\",
        "{x}",
        "%s",
        "T",
        "q",
        "n",
        "k",
        "place",
        "item",
    ]
    kind = build_type("table", dict.fromkeys(names, "list of text"))
    kind = kind.model_copy(
        update={
            "fields": tuple(
                field.model_copy(update={"column": f"{field.column}_{n}"[-63:]}) for n, field in enumerate(kind.fields)
            )
        }
    )
    await deploy(conn, environment=LIVE, app=build_app(kind))
    created = await create(conn, kind, **{name: list[JsonValue]([name]) for name in names})
    changed = await update(
        conn,
        created["_id"],
        kind,
        values={name: ["x"] for name in names},
        add={name: [name, "z"] for name in names},
        remove={"T": ["T"]},
    )
    assert [changed[name] for name in names] == [["x", "z"] if name == "T" else ["x", name, "z"] for name in names]
    for name in names:
        found = await find_things(
            conn, environment=LIVE, data_type=kind, where=[{"key": name, "constraint_type": "contains", "value": "x"}]
        )
        assert [thing["_id"] for thing in found.results] == [created["_id"]]


async def test_a_type_may_have_hundreds_of_fields(conn: Connection) -> None:
    wide = build_type("wide", {f"field {number}": "number" for number in range(300)})
    await deploy(conn, environment=LIVE, app=build_app(wide))
    created = await create(conn, wide, **{f"field {number}": number for number in range(300)})
    assert len(created) == 303


# ---- creating


async def test_a_created_thing_is_told_as_it_is_read_back(orders: Connection) -> None:
    user = "1700000000000x1"
    moment = datetime(2026, 3, 1, 12, 0, 0, 123_999, tzinfo=UTC)
    thing = NewThing("1700000000000x5", {"number": "n", "total": 2.0}, user, moment)
    (created,) = await create_things(orders, environment=LIVE, data_type=ORDER, things=[thing])
    assert created == {
        "_id": "1700000000000x5",
        "Created Date": "2026-03-01T12:00:00.123Z",
        "Modified Date": "2026-03-01T12:00:00.123Z",
        "Created By": user,
        "number": "n",
        "total": 2,
    }
    assert created == await get_thing(orders, environment=LIVE, data_type=ORDER, id="1700000000000x5")
    assert created == prepare_thing(ORDER, thing).shown


async def test_prepared_things_are_stored_as_they_were_shown(orders: Connection) -> None:
    values: list[dict[str, JsonValue]] = [
        {"number": "n", "total": 2.0},
        {"tags": ["a"], "amounts": [1.0, 0.5]},
        {"total": None, "tags": []},
    ]
    things = [
        prepare_thing(
            ORDER, NewThing(f"1700000000000x{number}", given, None, datetime(2026, 3, 1, 12, 0, 0, number, tzinfo=UTC))
        )
        for number, given in enumerate(values)
    ]
    await insert_prepared(orders, environment=LIVE, data_type=ORDER, things=things)
    for number, thing in enumerate(things):
        assert await get_thing(orders, environment=LIVE, data_type=ORDER, id=f"1700000000000x{number}") == thing.shown


async def test_the_database_tells_the_date_of_creation(orders: Connection) -> None:
    before = datetime.now(UTC)
    created = await create(orders)
    moment = datetime.fromisoformat(str(created["Created Date"]))
    assert before - timedelta(seconds=5) < moment < datetime.now(UTC) + timedelta(seconds=5)
    stored = await orders.fetchval('SELECT created_date FROM live."order"')
    assert (
        stored == moment
    )  # to the microsecond, so that `greater than` the date that was told does not find the thing itself


async def test_things_are_returned_in_the_order_given(orders: Connection) -> None:
    things = [build_thing(number=str(number)) if number % 2 else build_thing(total=number) for number in range(200)]
    created = await create_things(orders, environment=LIVE, data_type=ORDER, things=things[::-1])
    assert [thing["_id"] for thing in created] == [thing.id for thing in things[::-1]]
    assert [thing.get("number") for thing in created] == [thing.values.get("number") for thing in things[::-1]]


async def test_nothing_is_created_when_one_of_a_batch_is_not_unique(orders: Connection) -> None:
    await create(orders, number="1")
    with pytest.raises(UniqueViolation) as caught:
        await create_things(
            orders, environment=LIVE, data_type=ORDER, things=[build_thing(number="2"), build_thing(number="1")]
        )
    assert "Key (number)=(1) already exists." in str(caught.value.detail)
    assert await count_things(orders, environment=LIVE, data_type=ORDER) == 1


async def test_a_unique_text_is_as_short_as_an_index_needs_it(orders: Connection) -> None:
    with pytest.raises(
        Permanent, match="field 'number' of type 'order' is unique, so it holds at most 2400 bytes, not 2401"
    ):
        await create(orders, number="é" * 1200 + "x")
    await create(orders, number="".join(chr(0x4E00 + number) for number in range(800)))


# ---- upserting


async def upsert(conn: Connection, *things: NewThing, by: tuple[str, ...] = ("number",)) -> list[Thing]:
    return await create_things(conn, environment=LIVE, data_type=ORDER, things=things, upsert=by)


async def test_upsert_changes_the_thing_there_is_and_only_what_is_named(orders: Connection) -> None:
    created = await create(orders, number="1", total=5, tags=["a"])
    changed, other = await upsert(
        orders, build_thing(number="1", paid=True), build_thing(number="2", total=7, tags=["b"])
    )
    assert (changed["_id"], changed["total"], changed["tags"], changed["paid"]) == (created["_id"], 5, ["a"], True)
    assert changed["Created Date"] == created["Created Date"]
    assert str(changed["Modified Date"]) >= str(created["Modified Date"])
    assert other["total"] == 7
    (cleared,) = await upsert(orders, build_thing(number="1", total=None))
    assert "total" not in cleared


async def test_upsert_of_one_key_twice_in_a_batch_changes_it_twice(orders: Connection) -> None:
    first, second = await upsert(orders, build_thing(number="1", total=1), build_thing(number="1", total=2))
    assert first["_id"] == second["_id"]
    assert (first["total"], second["total"]) == (1, 2)
    assert await count_things(orders, environment=LIVE, data_type=ORDER) == 1


async def test_upsert_without_a_key_creates(orders: Connection) -> None:
    await upsert(orders, build_thing(number=None, total=1), build_thing(total=2))
    assert await count_things(orders, environment=LIVE, data_type=ORDER) == 2


async def test_upsert_by_what_is_not_unique_is_refused_in_words(orders: Connection) -> None:
    with pytest.raises(
        Permanent, match=r"upsert by total: type 'order' needs these fields as one entry of `unique` \(it has: number\)"
    ):
        await upsert(orders, build_thing(total=1), by=("total",))


# ---- changing and deleting


async def test_update_sets_clears_and_renews_the_date(orders: Connection) -> None:
    created = await create(orders, number="1", total=5, tags=["a"], place="here")
    changed = await update(
        orders, created["_id"], values={"total": 6.0, "number": None, "tags": [], "place": None, "paid": True}
    )
    assert {name: value for name, value in changed.items() if "Date" not in name} == {
        "_id": created["_id"],
        "total": 6,
        "paid": True,
    }
    assert changed["Created Date"] == created["Created Date"]
    assert str(changed["Modified Date"]) >= str(created["Modified Date"])
    assert await get_thing(orders, environment=LIVE, data_type=ORDER, id=str(created["_id"])) == changed
    assert await orders.fetchval('SELECT modified_date > created_date FROM live."order"')


async def test_update_tells_apart_what_exists(orders: Connection) -> None:
    ids = [str((await create(orders, total=number))["_id"]) for number in range(3)]
    changes = [
        ThingChange(ids[0], {"total": 10}),
        ThingChange("1x1", {"total": 11}),
        ThingChange(ids[1], {"paid": True}),
        ThingChange(ids[2], {"total": 12}, add={"tags": "x"}),
    ]
    changed = await update_things(orders, environment=LIVE, data_type=ORDER, changes=changes)
    assert changed.keys() == set(ids)
    assert [changed[id].get("total") for id in ids] == [10, 1, 12]


async def test_update_to_a_value_that_is_taken_is_refused(orders: Connection) -> None:
    await create(orders, number="1")
    second = await create(orders, number="2")
    with pytest.raises(UniqueViolation):
        await update(orders, second["_id"], values={"number": "1"})


async def test_adding_keeps_the_order_and_leaves_out_what_is_there(orders: Connection) -> None:
    created = await create(orders, tags=["c", "a", "c"])
    changed = await update(orders, created["_id"], add={"tags": ["z", "a", "b", "z", "a0"]})
    assert changed["tags"] == ["c", "a", "c", "z", "b", "a0"]
    assert (await update(orders, created["_id"], add={"tags": "one"}))["tags"] == ["c", "a", "c", "z", "b", "a0", "one"]


async def test_removing_takes_all_that_are_equal(orders: Connection) -> None:
    created = await create(
        orders, tags=["c", "b", "c", "a", "b"], amounts=[1, 2.0, 2, 3], visits=["2020-01-01", "2021-01-01"]
    )
    changed = await update(
        orders, created["_id"], remove={"tags": ["c", "nothing"], "amounts": 2, "visits": ["2020-01-01T00:00:00Z"]}
    )
    assert (changed["tags"], changed["amounts"], changed["visits"]) == (
        ["b", "a", "b"],
        [1, 3],
        ["2021-01-01T00:00:00.000Z"],
    )
    assert "tags" not in await update(orders, created["_id"], remove={"tags": ["a", "b"]})


async def test_set_add_and_remove_work_in_that_order(orders: Connection) -> None:
    created = await create(orders, tags=["old"])
    changed = await update(
        orders, created["_id"], values={"tags": ["a"]}, add={"tags": ["b", "c"]}, remove={"tags": ["b", "old"]}
    )
    assert changed["tags"] == ["a", "c"]


async def test_an_empty_list_is_added_to_and_nothing_may_be_added(orders: Connection) -> None:
    created = await create(orders)
    assert (await update(orders, created["_id"], add={"tags": ["a"], "friends": []}))["tags"] == ["a"]
    changed = await update(
        orders, created["_id"], add={"tags": None, "amounts": None}, remove={"tags": None, "visits": ["2020-01-01"]}
    )
    assert changed["tags"] == ["a"]
    assert not {"amounts", "friends", "visits"} & changed.keys()


@pytest.mark.parametrize("name", ["number", "stops", "place", "Slug"])
async def test_only_lists_are_added_to(orders: Connection, name: str) -> None:
    created = await create(orders)
    value: JsonValue = "somewhere"
    with pytest.raises(Permanent, match=f"field '{name}' of type 'order'"):
        await update(orders, created["_id"], add={name: value})


async def test_deleting_counts_what_was_there(orders: Connection) -> None:
    ids = [str((await create(orders))["_id"]) for _ in range(3)]
    assert await delete_things(orders, environment=LIVE, data_type=ORDER, ids=[*ids[:2], ids[0], "1x1"]) == 2
    assert await count_things(orders, environment=LIVE, data_type=ORDER) == 1


async def test_the_type_of_a_thing_is_found_by_its_id(orders: Connection) -> None:
    created = await create(orders)
    (user,) = await create_things(orders, environment=LIVE, data_type=USER, things=[build_thing(email="a@example.com")])
    assert await find_type_of(orders, environment=LIVE, types=[USER, ORDER], id=str(created["_id"])) == ORDER
    assert await find_type_of(orders, environment=LIVE, types=[USER, ORDER], id=str(user["_id"])) == USER
    assert await find_type_of(orders, environment=LIVE, types=[USER, ORDER], id="1x1") is None
    assert await find_type_of(orders, environment=LIVE, types=[], id="1x1") is None


async def test_environments_do_not_see_each_other(orders: Connection) -> None:
    await deploy(orders, environment="development", app=build_app(ORDER))
    created = await create(orders)
    assert await get_thing(orders, environment="development", data_type=ORDER, id=str(created["_id"])) is None


# ---- sorting and paging


def is_storable(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


async def read_all(conn: Connection, order: Order, *, limit: int, data_type: DataType = ORDER) -> list[Thing]:
    """All things, page by page."""
    things: list[Thing] = []
    after = None
    while True:
        page = await find_things(
            conn, environment=LIVE, data_type=data_type, order=order, limit=limit, after=after, with_remaining=True
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
            conn, environment=LIVE, data_type=kind, where={"items": ["a"]}, order=Order(name), limit=1
        )
        rest = await find_things(conn, environment=LIVE, data_type=kind, order=Order(name), after=page.after)
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
    await create_things(orders, environment=LIVE, data_type=ORDER, things=[build_thing(Slug=slug) for slug in slugs])
    found = Counter(str(thing.get("Slug")) for thing in await read_all(orders, Order("Slug", descending), limit=2))
    assert found == Counter(map(str, slugs))


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
            limit=3,
            skip=skip,
            with_remaining=True,
        )
        assert page.remaining == remaining
        seen += [thing["total"] for thing in page.results]
    assert seen == list(range(2, 10))


@pytest.mark.parametrize("limit", [0, -1, -5])
async def test_a_page_of_nothing_is_empty(orders: Connection, limit: int) -> None:
    await create(orders)
    page = await find_things(orders, environment=LIVE, data_type=ORDER, limit=limit, with_remaining=True)
    assert (page.results, page.after, page.remaining) == ([], None, 1)


async def test_further_fields_break_ties(orders: Connection) -> None:
    things = [
        build_thing(total=total, Slug=slug) for total, slug in ((1, "a"), (2, "b"), (1, "c"), (None, "d"), (1, None))
    ]
    await create_things(orders, environment=LIVE, data_type=ORDER, things=things)
    order = Order("total", further=(("slug", True),))
    page = await find_things(orders, environment=LIVE, data_type=ORDER, order=order, limit=4)
    assert [thing.get("Slug") for thing in page.results] == ["c", "a", None, "b"]
    assert page.after is None
    with pytest.raises(ConstraintProblem, match="sorted by one field"):
        await find_things(orders, environment=LIVE, data_type=ORDER, order=order, after="W251bGwsIjF4MSJd")


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
        await find_things(orders, environment=LIVE, data_type=ORDER, order=Order("total"), after=after)


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
