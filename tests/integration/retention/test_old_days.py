"""Log lines go by the day where no environment keeps them, and one by one where another does."""

from datetime import date, timedelta
from functools import partial

import pytest

from penstock import clock
from penstock.store.retention import ACTS_KEPT
from penstock_scheduler.loops.retention import delete_aged, drop_old_days
from penstock_scheduler.loops.upkeep import make_partitions
from penstock_scheduler.repository.aging import ByDay, make_partition
from tests.integration.retention.aging import Keeper, keeper

__all__ = ["keeper"]
PARTITIONS = """
    SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'penstock.logs'::regclass ORDER BY 1
"""


def day(days_ago: int) -> date:
    return clock.now().date() - timedelta(days=days_ago)


def name_of(days_ago: int) -> str:
    return f"logs_{day(days_ago):%Y%m%d}"


async def write(keeper: Keeper, *ages: int, environment: str) -> None:
    for days_ago in ages:
        work = partial(make_partition, table=ByDay.LOGS, day=day(days_ago))
        await keeper.database.in_transaction(work)
        await keeper.fetch(
            "INSERT INTO penstock.logs (at, environment, level, event) "
            "VALUES ($1::date + interval '1 h', $2, 'info', 'x')",
            day(days_ago),
            environment,
        )


async def ages_of(keeper: Keeper, environment: str) -> list[int]:
    rows = await keeper.fetch("SELECT at FROM penstock.logs WHERE environment = $1 ORDER BY at DESC", environment)
    return [(clock.now().date() - row["at"].date()).days for row in rows]


async def test_a_day_that_no_environment_keeps_is_dropped_and_the_others_lose_what_is_too_old(keeper: Keeper) -> None:
    await write(keeper, 40, 33, 20, 2, environment="live")
    await write(keeper, 40, 33, 20, 2, environment="development")
    counts = await drop_old_days(keeper.room)
    assert counts.done == {"partitions": 2, "lines": 1, "deliveries": 0}
    assert await ages_of(keeper, "live") == [2, 20]
    assert await ages_of(keeper, "development") == [2]
    names = {row["relname"] for row in await keeper.fetch(PARTITIONS)}
    assert {name_of(20), name_of(2), "logs_default"} <= names
    assert names.isdisjoint({name_of(40), name_of(33)})
    assert (await drop_old_days(keeper.room)).done == {"partitions": 0, "lines": 0, "deliveries": 0}


async def test_many_lines_are_deleted_in_batches(keeper: Keeper) -> None:
    await keeper.fetch(
        "INSERT INTO penstock.logs (at, environment, level, event) "
        "SELECT now() - interval '9 days' - n * interval '1 ms', 'development', 'info', 'x' "
        "FROM generate_series(1, 12000) n"
    )
    assert (await drop_old_days(keeper.room)).done["lines"] == 12_000
    assert await keeper.fetchval("SELECT lines FROM penstock.retention WHERE environment = 'development'") == 12_000


async def test_a_day_that_somebody_reads_for_long_is_left_for_the_next_turn(keeper: Keeper) -> None:
    await write(keeper, 40, environment="live")
    async with keeper.database.connection() as conn, conn.transaction():
        await conn.fetchval("SELECT count(*) FROM penstock.logs")
        assert (await drop_old_days(keeper.room)).done["partitions"] == 0
    assert (await drop_old_days(keeper.room)).done["partitions"] == 1


async def test_days_to_come_are_made_again_and_again(keeper: Keeper) -> None:
    assert (await make_partitions(keeper.room)).done["partitions"] == 8 * len(ByDay)
    assert (await make_partitions(keeper.room)).done["partitions"] == 0


async def test_the_audit_is_kept_longer(keeper: Keeper) -> None:
    for age in (ACTS_KEPT + timedelta(days=1), ACTS_KEPT - timedelta(days=1)):
        await keeper.fetch(
            "INSERT INTO penstock.audit (environment, at, actor, action) "
            "VALUES ('live', now() - $1::interval, 'a', 'b')",
            age,
        )
    assert (await delete_aged(keeper.room)).done == {"acts": 1, "delivery_keys": 0, "dead_letters": 0}


@pytest.mark.parametrize("retention", ["1h", "11y", "forever", "3651d", ""])
async def test_a_retention_out_of_bounds_is_refused_by_the_database_too(keeper: Keeper, retention: str) -> None:
    with pytest.raises(Exception, match=r"retention|interval"):
        await keeper.fetch("UPDATE penstock.environments SET retention = $1", retention)
