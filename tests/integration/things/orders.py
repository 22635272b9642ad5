"""The data type of the tests of things, and how they make and change things of it."""

from pydantic import JsonValue

from penstock.db import Connection
from penstock.definitions.models import DataType
from penstock.things.records import NewThing, Thing, ThingChange, create_things, get_thing, update_things
from tests.factories import build_thing, build_type

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
).model_copy(update={"indexes": (("total",), ("customer", "placed"))})


async def create(conn: Connection, data_type: DataType = ORDER, /, **values: JsonValue) -> Thing:
    """The thing as created, which is what is read back."""
    (created,) = await create_things(conn, environment=LIVE, data_type=data_type, things=[build_thing(**values)])
    assert await get_thing(conn, environment=LIVE, data_type=data_type, id=str(created["_id"])) == created
    return created


async def update(conn: Connection, id: JsonValue, data_type: DataType = ORDER, **change: dict[str, JsonValue]) -> Thing:
    parts = ThingChange(str(id), change.get("values", {}), change.get("add", {}), change.get("remove", {}))
    return (await update_things(conn, environment=LIVE, data_type=data_type, changes=[parts]))[str(id)]


# ---- upserting


async def upsert(conn: Connection, *things: NewThing, by: tuple[str, ...] = ("number",)) -> list[Thing]:
    return await create_things(conn, environment=LIVE, data_type=ORDER, things=things, upsert=by)


# ---- sorting and paging


def is_storable(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
