"""Deliveries go by the day, as their environment keeps them; a copy is known for as long as its source says."""

from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

from penstock import clock
from penstock.db import Connection
from penstock.runs.admission import admit_deliveries
from penstock.runs.deliveries import NewDelivery, count_duplicates, free_keys
from penstock_scheduler.loops.retention import delete_aged, drop_old_days
from penstock_scheduler.loops.upkeep import make_partitions
from penstock_scheduler.repository.aging import ByDay, delete_deliveries, make_partition
from tests.integration.retention.aging import DAY, Keeper, keeper

__all__ = ["keeper"]


def delivery(key: str, *, environment: str = "live", unique_days: float = 30) -> NewDelivery:
    return NewDelivery(
        uuid4(), environment, "stripe", key, None, 0, (UUID(int=5),), {}, b"{}", unique_seconds=unique_days * 86400
    )


async def store(keeper: Keeper, *wanted: NewDelivery) -> set[UUID]:
    """Store deliveries as the ingress does; those that are new."""

    async def work(conn: Connection) -> set[UUID]:
        return (await admit_deliveries(conn, (), wanted))[1]

    return await keeper.database.in_transaction(work)


async def age(keeper: Keeper, id: UUID, days: float) -> None:
    """Let a delivery have been received so long ago, in a partition of its day."""
    day = (clock.now() - days * DAY).date()
    await keeper.database.in_transaction(partial(make_partition, table=ByDay.DELIVERIES, day=day))
    for table, column in (("deliveries", "id"), ("delivery_keys", "delivery_id")):
        await keeper.fetch(
            f"UPDATE penstock.{table} SET received_at = received_at - $2::interval, "
            f"unique_until = unique_until - $2::interval WHERE {column} = $1",
            id,
            days * DAY,
        )


async def test_old_days_are_dropped_and_development_loses_its_deliveries_earlier(keeper: Keeper) -> None:
    await make_partitions(keeper.room)
    kept, short = delivery("a"), delivery("b", environment="development")
    gone = [delivery("c"), delivery("d", environment="development")]
    recent = delivery("e", environment="development")
    assert len(await store(keeper, kept, short, *gone, recent)) == 5
    for one, days in ((kept, 20), (short, 20), (gone[0], 40), (gone[1], 40)):
        await age(keeper, one.id, days)
    done = (await drop_old_days(keeper.room)).done
    assert done == {"partitions": 1, "lines": 0, "deliveries": 1}
    rows = await keeper.fetch("SELECT id FROM penstock.deliveries")
    assert {row["id"] for row in rows} == {kept.id, recent.id}
    assert await keeper.fetchval("SELECT deliveries FROM penstock.retention WHERE environment = 'development'") == 1


async def test_a_copy_is_known_although_its_delivery_is_gone(keeper: Keeper) -> None:
    first = delivery("evt_1", environment="development")
    await store(keeper, first)
    await age(keeper, first.id, 20)
    await drop_old_days(keeper.room)
    assert await keeper.fetchval("SELECT count(*) FROM penstock.deliveries") == 0
    copy = delivery("evt_1", environment="development")
    assert await store(keeper, copy) == set()
    async with keeper.database.connection() as conn:
        known = await count_duplicates(conn, copies=[copy])
    assert known[copy.id] == (first.id, first.run_ids)


async def test_a_key_whose_time_is_over_is_forgotten(keeper: Keeper) -> None:
    first, other = delivery("evt_1"), delivery("evt_2", unique_days=90)
    await store(keeper, first, other)
    await age(keeper, first.id, 31)
    await age(keeper, other.id, 31)
    copy = delivery("evt_1")
    assert await store(keeper, copy) == set(), "until it is freed, or deleted"
    async with keeper.database.connection() as conn:
        assert await count_duplicates(conn, copies=[copy]) == {}
        await free_keys(conn, copies=[delivery("evt_2")])
    assert (await delete_aged(keeper.room)).done["delivery_keys"] == 1
    assert await store(keeper, copy, delivery("evt_2")) == {copy.id}


async def test_many_deliveries_of_one_moment_are_passed(keeper: Keeper) -> None:
    await keeper.fetch(
        """
        INSERT INTO penstock.deliveries (id, environment, source, state, received_at, headers, body)
        SELECT gen_random_uuid(), 'development', 's', 'accepted', now() - interval '9 days', '{}', ''
        FROM generate_series(1, 30)
        """
    )
    turns, deleted, is_more = 0, 0, True
    while is_more:
        turns += 1
        async with keeper.database.connection() as conn:
            count, is_more = await delete_deliveries(conn, environment="development", most=10)
        deleted += count
    assert (deleted, turns <= 4) == (30, True)


async def test_a_turn_looks_at_no_delivery_twice(keeper: Keeper) -> None:
    old = delivery("a")
    await store(keeper, old)
    await age(keeper, old.id, 20)
    await drop_old_days(keeper.room)
    reached = await keeper.fetchval(
        "SELECT now() - deliveries_reached_at FROM penstock.retention WHERE environment = 'development'"
    )
    assert isinstance(reached, timedelta)
    assert timedelta(days=6.9) < reached < timedelta(days=7.1)
