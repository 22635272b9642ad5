"""Constraints against real rows: each type, each kind of field, values as JSON and as the texts that Bubble's clients
send.
"""

import pytest
from pydantic import JsonValue

from penstock.db import Connection
from penstock.definitions.fields import internal_field_id
from penstock.deploying import deploy
from penstock.things.clauses import ConstraintProblem
from penstock.things.constraints import Where, compile_where
from penstock.things.records import NewThing, count_things, create_things, find_things
from tests.factories import build_app, build_type

LIVE = "live"
USERS: list[JsonValue] = ["1700000000000x100000000000000001", "1700000000000x100000000000000002"]
UNIT = build_type(
    "rentalunit",
    {
        "Unit name": "text",
        "price": "number",
        "free": "boolean",
        "built": "date",
        "owner": "user",
        "spot": "geographic address",
        "photo": "image",
        "tags": "list of text",
        "sizes": "list of number",
        "guests": "list of user",
        "exits": "list of geographic address",
    },
)
UNITS: dict[str, dict[str, JsonValue]] = {
    "a": {
        "Unit name": "red hot peppers",
        "price": 10,
        "free": True,
        "built": "2020-01-01T00:00:00.500Z",
        "owner": USERS[0],
        "spot": {"address": "Paris", "lat": 48.0},
        "photo": "//x.com/a.png",
        "tags": ["x", "y"],
        "sizes": [1, 2.5],
        "guests": USERS,
        "exits": [{"address": "N"}, {"address": "S"}],
        "Slug": "first",
    },
    "b": {
        "Unit name": "green",
        "price": 2.5,
        "free": False,
        "built": "2021-06-01",
        "owner": USERS[1],
        "tags": ["y"],
        "sizes": [3],
    },
    "c": {"Unit name": "", "price": -1, "tags": []},
    "d": {},
}


@pytest.fixture
async def units(module_conn: Connection) -> Connection:
    """A connection to a database with the things of UNITS."""
    await deploy(module_conn, environment=LIVE, app=build_app(UNIT))
    await module_conn.execute("TRUNCATE live.rentalunit")
    things = [
        NewThing(f"1700000000000x{name}", values, str(USERS[0]) if name == "a" else None)
        for name, values in UNITS.items()
    ]
    await create_things(module_conn, environment=LIVE, data_type=UNIT, things=things)
    return module_conn


async def find(conn: Connection, where: Where) -> str:
    """The names of what is found, in order."""
    page = await find_things(conn, environment=LIVE, data_type=UNIT, where=where)
    assert await count_things(conn, environment=LIVE, data_type=UNIT, where=where) == len(page.results)
    return "".join(sorted(str(thing["_id"])[-1] for thing in page.results))


CASES: list[tuple[str, str, JsonValue, str]] = [
    # text
    ("Unit name", "equals", "green", "b"),
    ("unitname", "equals", "green", "b"),
    ("Unit name", "equals", "Green", ""),
    ("Unit name", "not equal", "green", "acd"),
    ("Unit name", "equals", None, "cd"),
    ("Unit name", "not equal", None, "ab"),
    ("Unit name", "is_empty", None, "cd"),
    ("Unit name", "is_not_empty", "ignored", "ab"),
    ("Unit name", "in", ["green", "", "other"], "bc"),
    ("Unit name", "in", "green", "b"),
    ("Unit name", "in", [], ""),
    ("Unit name", "not in", ["green"], "acd"),
    ("Unit name", "not in", [], "abcd"),
    ("Unit name", "text contains", "pepper", "a"),
    ("Unit name", "text contains", "hot red", "a"),
    ("Unit name", "text contains", "pepp", ""),
    ("Unit name", "text contains", "the", ""),
    ("Unit name", "text contains", "' | & ! <-> :*", ""),
    ("Unit name", "not text contains", "peppers", "bcd"),
    ("Unit name", "greater than", "green", "a"),
    ("Unit name", "less than", "green", "c"),
    ("Unit name", "equals", "'; DROP TABLE live.rentalunit; --", ""),
    # number
    ("price", "equals", 10, "a"),
    ("price", "equals", "10", "a"),
    ("price", "equals", " 10.0 ", "a"),
    ("price", "equals", "2.5", "b"),
    ("price", "not equal", "10", "bcd"),
    ("price", "greater than", "-1", "ab"),
    ("price", "less than", 3, "bc"),
    ("price", "less than", "1e3", "abc"),
    ("price", "in", ["10", 2.5, "7"], "ab"),
    ("price", "not in", ["10"], "bcd"),
    ("price", "is_empty", None, "d"),
    ("price", "less than", 10**300, "abc"),
    # boolean
    ("free", "equals", True, "a"),
    ("free", "equals", "True", "a"),
    ("free", "equals", "yes", "a"),
    ("free", "not equal", "true", "bcd"),
    ("free", "equals", "false", "b"),
    ("free", "in", ["true", "False"], "ab"),
    ("free", "is_empty", None, "cd"),
    # date
    ("built", "equals", "2020-01-01T00:00:00.500000Z", "a"),
    ("built", "equals", 1577836800500, "a"),
    ("built", "equals", "1577836800500", "a"),
    ("built", "greater than", "2020-01-01T00:00:00.500Z", "b"),
    ("built", "greater than", "2020-01-01T00:00:00.499Z", "ab"),
    ("built", "less than", "2021-06-01T02:00:00+02:00", "a"),
    ("built", "less than", "Wed Jan 13 2021", "a"),
    ("built", "in", ["2021-06-01", "2020-01-01T00:00:00.5Z"], "ab"),
    ("Created Date", "greater than", "2001-01-01", "abcd"),
    ("createddate", "less than", "2001-01-01", ""),
    # things
    ("owner", "equals", USERS[0], "a"),
    ("owner", "equals", {"_id": USERS[0]}, "a"),
    ("owner", "not equal", USERS[0], "bcd"),
    ("owner", "in", [*USERS, "not an id at all"], "ab"),
    ("owner", "in", ["'; DROP"], ""),
    ("owner", "not in", [USERS[1]], "acd"),
    ("Created By", "equals", USERS[0], "a"),
    ("_id", "equals", "1700000000000xa", "a"),
    ("_id", "in", [], ""),
    ("_id", "in", ["1700000000000xa", "1700000000000xd", "1x1"], "ad"),
    ("_id", "greater than", "1700000000000xb", "cd"),
    ("slug", "equals", "first", "a"),
    # address and image
    ("spot", "equals", {"address": "Paris", "lat": 48}, "a"),
    ("spot", "equals", "Paris", ""),
    ("spot", "not equal", "Paris", "abcd"),
    ("spot", "in", [{"lat": 48, "address": "Paris"}], "a"),
    ("spot", "is_empty", None, "bcd"),
    ("photo", "equals", "//x.com/a.png", "a"),
    ("photo", "is_not_empty", None, "a"),
    # lists
    ("tags", "contains", "x", "a"),
    ("tags", "contains", ["x", "y"], "a"),
    ("tags", "contains", [], "ab"),
    ("tags", "not contains", "x", "bcd"),
    ("tags", "not contains", "y", "cd"),
    ("tags", "empty", None, "cd"),
    ("tags", "not empty", None, "ab"),
    ("tags", "is_empty", None, "cd"),
    ("tags", "equals", ["x", "y"], "a"),
    ("tags", "equals", ["y", "x"], ""),
    ("tags", "equals", "y", "b"),
    ("tags", "equals", [], "cd"),
    ("tags", "not equal", ["y"], "acd"),
    ("tags", "not equal", [], "ab"),
    ("tags", "in", [["x", "y"], ["z"]], "a"),
    ("tags", "in", ["y", []], "bcd"),
    ("tags", "in", [], ""),
    ("tags", "not in", [["x", "y"]], "bcd"),
    ("sizes", "contains", "2.50", "a"),
    ("sizes", "contains", 3, "b"),
    ("sizes", "equals", ["1.0", 2.5], "a"),
    ("guests", "contains", USERS[1], "a"),
    ("guests", "not contains", USERS[1], "bcd"),
    ("exits", "equals", [{"address": "N"}, "S"], "a"),
    ("exits", "not equal", ["N"], "abcd"),
    ("exits", "in", [["N", "S"]], "a"),
    ("exits", "empty", None, "bcd"),
    ("exits", "not empty", None, "a"),
]


@pytest.mark.parametrize(("key", "kind", "value", "found"), CASES)
async def test_constraints_find_what_meets_them(
    units: Connection, key: str, kind: str, value: JsonValue, found: str
) -> None:
    assert await find(units, [{"key": key, "constraint_type": kind, "value": value}]) == found


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (None, "abcd"),
        ([], "abcd"),
        ({}, "abcd"),
        ({"price": 10}, "a"),
        ({"price": "10", "free": True}, "a"),
        ({"price": 10, "free": False}, ""),
        ({"price": None}, "d"),
        ({"tags": ["y"]}, "b"),
        (
            [
                {"key": "price", "constraint_type": "less than", "value": 5},
                {"key": "tags", "constraint_type": "contains", "value": "y"},
            ],
            "b",
        ),
        ([{"key": "price", "constraint_type": "is_not_empty"}], "abc"),
    ],
)
async def test_all_constraints_have_to_hold(units: Connection, where: Where, found: str) -> None:
    assert await find(units, where) == found


async def test_alternatives_within_a_constraint_do_not_leak_out(units: Connection) -> None:
    empty: JsonValue = {"key": "Unit name", "constraint_type": "is_empty"}
    among: JsonValue = {"key": "tags", "constraint_type": "in", "value": ["y", ["x", "y"]]}
    dear: JsonValue = {"key": "price", "constraint_type": "greater than", "value": 5}
    assert await find(units, [empty, dear]) == ""
    assert await find(units, [among, dear]) == "a"


@pytest.mark.parametrize(
    ("key", "kind", "field"),
    [
        ("Unit name", "contains", "unit_name_text"),
        ("unitname", "empty", "unit_name_text"),
        ("price", "text contains", "price_number"),
        ("free", "greater than", "free_boolean"),
        ("owner", "less than", "owner_user"),
        ("price", "geographic_search", "price_number"),
        ("tags", "text contains", "tags_list_text"),
        ("guests", "greater than", "guests_list_user"),
        ("price", "=", "price_number"),
        ("price", "EQUALS", "price_number"),
    ],
)
def test_a_constraint_type_that_does_not_fit_is_not_found_in_bubbles_words(key: str, kind: str, field: str) -> None:
    with pytest.raises(ConstraintProblem) as caught:
        compile_where(UNIT, [{"key": key, "constraint_type": kind, "value": "x"}])
    assert str(caught.value) == f"Constraint type not found {kind} for field {field} and type rentalunit"
    assert caught.value.status == 404


def test_fields_of_things_of_the_app_are_custom_in_bubbles_words() -> None:
    visit = build_type("visit", {"Venue": "venue", "All venues": "list of venue"})
    assert [internal_field_id(known) for known in visit.fields] == [
        "venue_custom_venue",
        "all_venues_list_custom_venue",
    ]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"prise": 1}, "Unrecognized field: prise (did you mean price?)"),
        ({"": 1}, "Unrecognized field: "),
        ({"price": "ten"}, "the value for price does not fit: expected a number, got text"),
        ({"price": "NaN"}, "the value for price does not fit"),
        ({"price": [1]}, "the value for price does not fit"),
        ({"built": "yesterday"}, "the value for built does not fit: expected a date"),
        ({"free": "maybe"}, "the value for free does not fit"),
        ({"owner": 5}, "the value for owner does not fit: expected the id of a thing"),
        ({"spot": {"planet": 1}}, "the value for spot does not fit"),
        ([{"key": "price", "constraint_type": "in", "value": [1, "x"]}], "the value for price does not fit"),
        ([{"key": "price", "constraint_type": "greater than"}], "constraint 'greater than' on price needs a value"),
        ([{"key": "price", "constraint_type": "in", "value": None}], "constraint 'in' on price needs a value"),
        (
            [{"key": "exits", "constraint_type": "contains", "value": "N"}],
            "lists of addresses, such as exits, cannot be searched",
        ),
        ([{"key": "price"}], "constraint 0 needs a key and a constraint_type"),
        (["price"], "constraint 0 needs a key and a constraint_type"),
        ("price", "constraints are a list of"),
    ],
)
def test_what_cannot_be_constrained_is_said(where: Where, message: str) -> None:
    with pytest.raises(ConstraintProblem) as caught:
        compile_where(UNIT, where)
    assert message in str(caught.value)
    assert caught.value.status == 400


async def test_a_very_long_text_does_not_stand_in_the_way_of_searches(units: Connection) -> None:
    long = " ".join(f"word{number:x}" for number in range(200_000))
    await create_things(
        units, environment=LIVE, data_type=UNIT, things=[NewThing("1700000000000xe", {"Unit name": long})]
    )
    assert await find(units, [{"key": "Unit name", "constraint_type": "text contains", "value": "word5"}]) == "e"
