"""A database with deliveries is divided by day without losing any, while the previous release still runs."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from penstock.db import Connection, Database, open_database
from penstock.db.migrations import Migration, list_migrations, migrate
from penstock.runs.deliveries import NewDelivery, count_duplicates
from penstock.runs.views.deliveries import find_delivery
from penstock.testing.databases import fresh_database
from tests.eventually import eventually
from tests.servers import Servers

FIRST = "0127"
INSERT = """
    INSERT INTO penstock.deliveries (
        id, environment, source, dedup_key, type, state, run_ids, headers, body, signature_key, unique_until
    )
    SELECT $1, 'live', 'stripe', $2, NULL, 'accepted', $3, '{}', 'x', NULL, clock_timestamp() + interval '30 days'
    ON CONFLICT DO NOTHING
    RETURNING id
"""
"""What the previous release sends."""
MIGRATIONS = list_migrations()


@pytest.fixture
async def old(servers: Servers) -> AsyncIterator[Database]:
    """A database of the previous release."""
    async with fresh_database(servers.database_url) as url:
        database = await open_database(url, name="migrations", most=4)
        async with database.connection() as conn:
            await conn.execute(
                "CREATE TABLE public.penstock_migrations (name text PRIMARY KEY, checksum text NOT NULL, "
                "applied_at timestamptz NOT NULL DEFAULT now())"
            )
            for migration in MIGRATIONS:
                if migration.name < FIRST:
                    await apply(conn, migration)
        yield database
        await database.close()


async def apply(conn: Connection, migration: Migration) -> None:
    await conn.execute(migration.sql)
    await conn.execute(
        "INSERT INTO public.penstock_migrations (name, checksum) VALUES ($1, $2)", migration.name, migration.checksum
    )


async def store(conn: Connection, key: str | None, run_ids: tuple[UUID, ...] = ()) -> UUID | None:
    id: UUID | None = await conn.fetchval(INSERT, uuid4(), key, list(run_ids))
    return id


def copy_of(key: str) -> NewDelivery:
    return NewDelivery(uuid4(), "live", "stripe", key, None, 0, (), {}, b"x")


async def test_every_delivery_is_there_afterwards_and_its_copies_are_known(old: Database) -> None:
    run_ids = (uuid4(),)
    async with old.connection() as conn:
        ids = {await store(conn, f"evt_{number}", run_ids) for number in range(20)}
        ids.add(await store(conn, None))
        aged = await store(conn, "aged")
        await conn.execute(
            "UPDATE penstock.deliveries SET received_at = now() - interval '40 days', unique_until = NULL "
            "WHERE id = $1",
            aged,
        )
    applied = await migrate(old)
    assert applied[:3] == ["0127_create_delivery_keys", "0128_divide_deliveries", "0129_attach_older_deliveries"]
    async with old.connection() as conn:
        stored = {row["id"] for row in await conn.fetch("SELECT id FROM penstock.deliveries")}
        assert stored == {*ids, aged}
        known = await count_duplicates(conn, copies=[copy := copy_of("evt_3"), copy_of("aged")])
        assert list(known) == [copy.id]
        assert known[copy.id].run_ids == run_ids
        details = await find_delivery(conn, id=known[copy.id].id)
        assert details is not None
        assert details.duplicates == 1
        assert await store(conn, "evt_3") is None, "the previous release finds its keys taken, too"
        assert await store(conn, "new") is not None
        assert await store(conn, "new") is None
        assert await store(conn, "aged") is not None, "the time of that key is over"
        partitions = await conn.fetch(
            "SELECT relid::regclass::text AS name FROM pg_partition_tree('penstock.deliveries')"
        )
        assert {"penstock.deliveries_before", "penstock.deliveries_default"} < {row["name"] for row in partitions}


async def test_a_new_database_has_no_partition_of_before(old: Database) -> None:
    await migrate(old)
    async with old.connection() as conn:
        assert await conn.fetchval("SELECT to_regclass('penstock.deliveries_before')") is None


async def test_what_comes_in_meanwhile_is_stored_once(old: Database) -> None:
    """After each migration, and while they run."""
    stored: list[UUID | None] = []
    async with old.connection() as conn:
        for migration in MIGRATIONS:
            if migration.name >= FIRST:
                stored += [await store(conn, f"before {migration.name}"), await store(conn, "always")]
                await apply(conn, migration)
        stored += [await store(conn, "last"), await store(conn, "always")]
        new = [id for id in stored if id is not None]
        rows = await conn.fetch("SELECT id FROM penstock.deliveries")
        keys = await conn.fetch("SELECT delivery_id FROM penstock.delivery_keys")
    assert sorted(row["id"] for row in rows) == sorted(new)
    assert sorted(row["delivery_id"] for row in keys) == sorted(new)
    assert len(new) == len([name for name in MIGRATIONS if name.name >= FIRST]) + 2


async def test_requests_wait_only_for_the_moment_of_the_change(old: Database) -> None:
    async with old.connection() as conn:
        await conn.execute(
            """
            INSERT INTO penstock.deliveries (id, environment, source, dedup_key, state, headers, body)
            SELECT gen_random_uuid(), 'live', 'stripe', n::text, 'accepted', '{}', 'x' FROM generate_series(1, 50000) n
            """
        )
    migrating = asyncio.create_task(migrate(old))
    stored = 0

    async def send() -> bool:
        nonlocal stored
        async with old.connection() as conn:
            stored += await store(conn, f"meanwhile {stored}") is not None
        return migrating.done()

    await eventually(send, within=60, every=0)
    await migrating
    async with old.connection() as conn:
        assert await conn.fetchval("SELECT count(*) FROM penstock.deliveries") == 50_000 + stored
        assert await conn.fetchval("SELECT count(*) FROM penstock.delivery_keys") == 50_000 + stored
    assert stored > 1
