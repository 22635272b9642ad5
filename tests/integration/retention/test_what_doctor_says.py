"""`penstock doctor` reads what is kept, what was deleted, whether deletion keeps up, and what the tables take."""

from datetime import timedelta

from penstock.store.retention import list_keepings, list_sizes
from tests.integration.retention.aging import Keeper, Old, keeper

__all__ = ["keeper"]


async def test_what_is_overdue_is_seen_until_it_is_deleted(keeper: Keeper) -> None:
    await keeper.store(Old(40), Old(33), Old(1))
    async with keeper.database.connection() as conn:
        before = {one.environment: one for one in await list_keepings(conn)}
    assert before["live"].lag is not None
    assert timedelta(days=9.9) < before["live"].lag < timedelta(days=10)
    await keeper.tidy()
    async with keeper.database.connection() as conn:
        after = {one.environment: one for one in await list_keepings(conn)}
    assert after["live"].lag is None
    assert (after["live"].retention, after["live"].deleted["runs"], after["live"].deleted["chains"]) == ("30d", 2, 2)
    assert (after["development"].retention, after["development"].deleted["runs"]) == ("7d", 0)


async def test_sizes_are_those_of_whole_tables(keeper: Keeper) -> None:
    await keeper.store(*(Old(1) for _ in range(5)))
    await keeper.fetch("ANALYZE penstock.runs")
    async with keeper.database.connection() as conn:
        sizes = {table.name: table for table in await list_sizes(conn)}
    assert sizes["runs"].rows == 5
    assert sizes["logs"].size > 0, "with its partitions"
