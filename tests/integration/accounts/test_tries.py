"""How often passwords may be tried, and who is not locked out by whom."""

import asyncio
import time

from penstock.db import Database
from penstock.testing import AppUnderTest
from penstock.things.hashing import MAX_AT_ONCE, Hashing
from penstock.things.passwords import hash_password, is_password
from penstock.things.tries import (
    MAX_BY_ADDRESS,
    MAX_BY_BOTH,
    MAX_BY_EMAIL,
    Origin,
    begin_try,
    delete_old_tries,
    forgive_tries,
)
from tests.integration.accounts.apps import OTHER, PASSWORD, post

ADA = Origin("live", "ada@example.com", "203.0.113.1")


async def tries(database: Database, origin: Origin, times: int) -> int:
    """How many of these tries were allowed."""
    async with database.connection() as conn:
        return sum([await begin_try(conn, origin) for _ in range(times)])


async def test_one_address_tries_one_email_a_few_times(database: Database) -> None:
    assert await tries(database, ADA, MAX_BY_BOTH + 3) == MAX_BY_BOTH
    assert await tries(database, ADA._replace(address="203.0.113.2"), 1) == 1
    assert await tries(database, ADA._replace(email="grace@example.com"), 1) == 1
    assert await tries(database, ADA._replace(environment="development"), 1) == 1


async def test_one_address_tries_many_emails_a_bounded_number_of_times(database: Database) -> None:
    allowed = [
        await tries(database, ADA._replace(email=f"{number}@example.com"), 1) for number in range(MAX_BY_ADDRESS + 5)
    ]
    assert sum(allowed) == MAX_BY_ADDRESS


async def test_many_addresses_cannot_lock_somebody_out_where_they_have_logged_in(database: Database) -> None:
    home = ADA._replace(address="198.51.100.7")
    async with database.connection() as conn:
        assert await begin_try(conn, home)
        await forgive_tries(conn, [home])
    crowd = [await tries(database, ADA._replace(address=f"192.0.2.{number}"), 1) for number in range(MAX_BY_EMAIL + 5)]
    assert sum(crowd) == MAX_BY_EMAIL
    assert await tries(database, ADA._replace(address="198.51.100.8"), 1) == 0
    assert await tries(database, home, MAX_BY_BOTH + 1) == MAX_BY_BOTH


async def test_a_right_password_does_not_count_and_forgives_what_was_wrong_before(database: Database) -> None:
    for _ in range(5):
        assert await tries(database, ADA, MAX_BY_BOTH - 1) == MAX_BY_BOTH - 1
        async with database.connection() as conn:
            assert await begin_try(conn, ADA)
            await forgive_tries(conn, [ADA])
    assert await tries(database, ADA, MAX_BY_BOTH) == MAX_BY_BOTH


async def test_tries_at_the_same_moment_are_bounded_too(database: Database) -> None:
    assert sum(await asyncio.gather(*(tries(database, ADA, 4) for _ in range(6)))) == MAX_BY_BOTH


async def test_the_count_begins_again_and_old_ones_are_forgotten(database: Database) -> None:
    assert await tries(database, ADA, MAX_BY_BOTH + 1) == MAX_BY_BOTH
    async with database.connection() as conn:
        await forgive_tries(conn, [ADA._replace(email="grace@example.com")])
        await conn.execute("UPDATE penstock.password_tries SET until = clock_timestamp() - interval '1 second'")
        await conn.execute("UPDATE penstock.known_places SET seen_at = clock_timestamp() - interval '181 days'")
        assert await begin_try(conn, ADA)
        assert await delete_old_tries(conn, most=100) == 1
        await conn.execute("UPDATE penstock.password_tries SET until = clock_timestamp() - interval '1 second'")
        assert await delete_old_tries(conn, most=100) == 3


async def test_whoever_tries_too_often_hears_so_whether_the_email_is_known_or_not(app: AppUnderTest) -> None:
    await post(app, "sign_up", email="ada@example.com", password=PASSWORD)
    for email in ("ada@example.com", "nobody@example.com"):
        statuses = [(await post(app, "log_in", email=email, password=OTHER)).status for _ in range(MAX_BY_BOTH + 2)]
        assert statuses == [401] * MAX_BY_BOTH + [429] * 2
    assert (await post(app, "log_in", email="ada@example.com", password=PASSWORD)).status == 429


async def test_hashing_leaves_the_event_loop_free_and_is_bounded() -> None:
    hashing = Hashing()
    stored = hash_password(PASSWORD)
    longest, last, is_over = 0.0, time.perf_counter(), False

    async def watch() -> None:
        nonlocal longest, last
        while not is_over:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    watching = asyncio.create_task(watch())
    begun = time.perf_counter()
    answers = await asyncio.gather(*(hashing.is_password(PASSWORD, stored) for _ in range(6)))
    took, is_over = time.perf_counter() - begun, True
    await watching
    hashing.close()
    assert answers == [True] * 6
    assert longest < took / 2, "one of the hashes has kept the event loop"
    assert len(hashing._threads._threads) <= MAX_AT_ONCE


def test_a_password_is_recognized_and_nobody_has_one() -> None:
    stored = hash_password(PASSWORD)
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert stored != hash_password(PASSWORD)
    assert is_password(PASSWORD, stored)
    assert not is_password(OTHER, stored)
    assert not is_password(PASSWORD, None)
