"""Values are read back as they were written, and refused by name when they do not fit."""

import pytest
from pydantic import JsonValue

from penstock.db import Connection
from penstock.deploying import deploy
from penstock.errors import Permanent
from penstock.things.clauses import ConstraintProblem
from penstock.things.records import (
    ThingChange,
    count_things,
    create_things,
    delete_things,
    find_things,
    find_type_of,
    get_thing,
    update_things,
)
from tests.factories import build_app, build_thing, build_type
from tests.integration.things.orders import LIVE, ORDER, create, update

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
