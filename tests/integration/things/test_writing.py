"""Things are created, upserted, changed and deleted."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import JsonValue

from penstock.db import Connection, UniqueViolation
from penstock.deploying import deploy
from penstock.errors import Permanent
from penstock.things.records import (
    NewThing,
    ThingChange,
    count_things,
    create_things,
    delete_things,
    find_type_of,
    get_thing,
    insert_prepared,
    prepare_thing,
    update_things,
)
from penstock.things.tables import USER
from tests.factories import build_app, build_thing
from tests.integration.things.orders import LIVE, ORDER, create, update, upsert

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
    )  # to the microsecond, so that `greater than` the date that was returned does not find the thing itself


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
