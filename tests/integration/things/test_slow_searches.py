"""Slow searches are summed by their shape, without values, and written by the services."""

import asyncio
from pathlib import Path

import pytest

from penstock.db import Database
from penstock.things.constraints import Conditions, Restricted
from penstock.things.ordering import Order
from penstock.things.privacy import STRANGER
from penstock.things.slow_searches import (
    MAX_ROWS,
    Shape,
    SlowSearch,
    SlowSearches,
    add_slow_searches,
    list_slow_searches,
)
from tests.eventually import eventually
from tests.integration.ingress import ADMIN, running_ingress, write_app
from tests.integration.things.orders import ORDER


async def stored(database: Database) -> list[SlowSearch]:
    async with database.connection() as conn:
        return await list_slow_searches(conn)


async def test_searches_are_summed_by_their_shape(database: Database) -> None:
    slow = SlowSearches(database, threshold=0)
    wheres: list[Conditions] = [{"total": 1}, [{"key": "TOTAL", "constraint_type": "equals", "value": "secret"}]]
    for where in wheres:
        with slow.watch("live", ORDER, Restricted(where, STRANGER), Order("placed", further=(("Created Date", True),))):
            pass
    with pytest.raises(TimeoutError), slow.watch("live", ORDER, None):
        raise TimeoutError
    await slow.flush()
    with slow.watch("live", ORDER, {"total": 2}, Order("placed", further=(("createddate", False),))):
        pass
    await slow.close()
    await slow.close()
    found = {search.shape: search for search in await stored(database)}
    assert set(found) == {
        Shape("live", "order", (("total", "equals"),), ("placed", "Created Date")),
        Shape("live", "order", (), ()),
    }
    assert [search.count for search in found.values() if search.shape.where] == [3]
    for search in found.values():
        assert 0 < search.max_seconds <= search.total_seconds
    async with database.connection() as conn:
        assert "secret" not in await conn.fetchval("SELECT string_agg(s::text, '') FROM penstock.slow_searches s")


async def test_a_quick_search_is_not_noted(database: Database) -> None:
    slow = SlowSearches(database, threshold=60)
    with slow.watch("live", ORDER, None):
        pass
    await slow.flush()
    assert await stored(database) == []


async def test_there_are_only_so_many_and_old_ones_are_forgotten(database: Database) -> None:
    def search(number: int) -> SlowSearch:
        return SlowSearch(Shape("live", "order", ((f"f{number}", "equals"),), ()), 1, 1.0, 1.0)

    async with database.connection() as conn:
        await add_slow_searches(conn, searches=[search(number) for number in range(MAX_ROWS)])
        await add_slow_searches(conn, searches=[search(0), search(MAX_ROWS)])
        found = await list_slow_searches(conn)
        assert len(found) == MAX_ROWS
        assert (found[0].shape, found[0].count) == (search(0).shape, 2)
        await conn.execute("UPDATE penstock.slow_searches SET last_at = now() - interval '31 days' WHERE count = 1")
        await add_slow_searches(conn, searches=[search(MAX_ROWS)])
        assert len(await list_slow_searches(conn)) == 2


async def test_an_ingress_notes_a_search_that_took_long(database_url: str, amqp_url: str, tmp_path: Path) -> None:
    async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as ingress:
        query = "/api/1.1/obj/order?sort_field=number"
        assert (await ingress.send("GET", query, headers=ADMIN)).status == 200
        async with ingress.database.connection() as conn, conn.transaction():
            await conn.execute('LOCK TABLE live."order" IN ACCESS EXCLUSIVE MODE')
            waiting = asyncio.create_task(ingress.send("GET", query, headers=ADMIN))

            async def waits() -> bool:
                return bool(
                    await conn.fetchval(
                        """
                        SELECT EXISTS (
                            SELECT FROM pg_stat_activity
                            WHERE wait_event_type = 'Lock' AND datname = current_database()
                              AND query_start < clock_timestamp() - interval '150 ms')
                        """
                    )
                )

            await eventually(waits)
        assert (await waiting).status == 200
        database = ingress.database
        ingress.stop.request()
        await eventually(lambda: stored(database))
        (search,) = await stored(database)
    assert search.shape == Shape("live", "order", (), ("number",))
    assert search.max_seconds > 0.1
