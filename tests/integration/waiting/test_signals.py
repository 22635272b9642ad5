"""Signals wake the runs that wait for them, once, and are kept for those that will."""

import asyncio
from datetime import timedelta
from functools import partial
from uuid import UUID

from penstock.runs.waits_and_signals import SIGNAL_LIFETIME, delete_expired_signals, post_signal
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House
from tests.integration.waiting.moving import ANYTHING, PAYMENT, advance_time, count_is, count_waits, send_signal

MANY = 10_000
WAITING = """
    INSERT INTO penstock.runs (id, chain_id, environment, workflow, trigger, state, depth, attempt, version, started_at,
                               scheduled_at, dispatched_at)
    SELECT i.id, i.id, $1, 'listener', 'api', 'waiting', 0, 1, 1, i.at, i.at, i.at
    FROM generate_series(1, $2::int) n CROSS JOIN LATERAL (SELECT md5(n::text)::uuid AS id, now() AS at) i
"""


async def test_a_signal_wakes_the_runs_that_match_and_gives_them_its_payload(house: House) -> None:
    await house.deploy(PAYMENT)
    async with house.services():
        one, two = await house.start("payment", {"order": 1}), await house.start("payment", {"order": "1"})
        anything = await house.start("payment")
        for run_id in (one, two, anything):
            await house.ended(run_id, "waiting")
        assert [run.id for run in await send_signal(house, "paid", {"order": 1.0, "by": "card"})] == [one]
        assert (await house.ended(one))["result"] == {"paid": {"order": 1, "by": "card"}}
        assert [run.id for run in await send_signal(house, "paid", [1, 2])] == [
            anything
        ]  # a member that is missing is null
        assert (await house.ended(anything))["result"] == {"paid": [1, 2]}
        assert (await house.get(two))["state"] == "waiting"
        assert await send_signal(house, "Paid", {"order": "1"}) == []


async def test_a_signal_wakes_ten_thousand_runs_in_a_database_that_nobody_has_analyzed(house: House) -> None:
    async with house.database.connection() as conn:  # each of them as an executor leaves it
        await conn.execute(WAITING, ENVIRONMENT, MANY)
        await conn.execute(
            "INSERT INTO penstock.waits (run_id, environment, step, signal) "
            "SELECT id, environment, 'heard', 'everybody' FROM penstock.runs"
        )
        await conn.execute(
            "INSERT INTO penstock.steps (run_id, step, action, outcome, attempt, started_at) "
            "SELECT id, 'heard', 'wait_for', 'waiting', 1, started_at FROM penstock.runs"
        )
    # A statement that searches a list of all of them for each takes longer than any statement may.
    woken = await house.database.in_transaction(
        partial(post_signal, environment=ENVIRONMENT, name="everybody", payload={"by": "all"})
    )
    assert len({run.id for run in woken}) == MANY
    assert await house.fetchval("SELECT count(*) FROM penstock.runs WHERE state = 'queued'") == MANY
    assert await house.fetchval("SELECT count(*) FROM penstock.steps WHERE outcome = 'succeeded'") == MANY
    assert await count_waits(house) == 0


async def test_a_signal_that_does_not_come_in_time_is_null(house: House) -> None:
    await house.deploy(PAYMENT)
    async with house.services():
        run_id = await house.start("payment", {"order": 1})
        await house.ended(run_id, "waiting")
        await advance_time(house, timedelta(hours=1))
        run = await house.ended(run_id)
        assert (run["state"], run["result"]) == ("succeeded", {"paid": None})
        assert await send_signal(house, "paid", {"order": 1}) == []


async def test_a_wait_without_timeout_lasts(house: House) -> None:
    await house.deploy(ANYTHING)
    async with house.services():
        run_id = await house.start("listener")
        await house.ended(run_id, "waiting")
        await advance_time(house, timedelta(days=400))
        assert [run.id for run in await send_signal(house, "news-2", {"at": "last"})] == [run_id]
        assert (await house.ended(run_id))["result"] == {"heard": {"at": "last"}}


async def test_a_signal_nobody_waits_for_is_kept_for_the_first_that_does(house: House) -> None:
    await house.deploy(PAYMENT)
    async with house.services():
        for number in (7, 8, 8):
            assert await send_signal(house, "paid", {"order": number, "n": number * 10}) == []
        first, second, third = [await house.start("payment", {"order": 8}) for _ in range(3)]
        await eventually(lambda: count_is(house, "succeeded", 2))
        await eventually(lambda: count_is(house, "waiting", 1))
        assert len(await house.fetch("SELECT FROM penstock.signals")) == 1  # that of order 7
        waiting = [run_id for run_id in (first, second, third) if (await house.get(run_id))["state"] == "waiting"]
        assert [run.id for run in await send_signal(house, "paid", {"order": 8})] == waiting


async def test_a_kept_signal_expires(house: House) -> None:
    await house.deploy(PAYMENT)
    await send_signal(house, "paid", {"order": 1})
    await advance_time(house, SIGNAL_LIFETIME + timedelta(seconds=1))
    async with house.executor():
        run_id = await house.start("payment", {"order": 1})
        assert (await house.ended(run_id, "waiting", "succeeded"))["state"] == "waiting"
    async with house.database.connection() as conn:
        assert (await delete_expired_signals(conn, most=10), await delete_expired_signals(conn, most=10)) == (1, 0)


async def test_no_signal_falls_between_posting_and_beginning_to_wait(house: House) -> None:
    """Each order is started and paid for at the same moment, again and again: every run has to hear of its payment,
    once.
    """
    await house.deploy(PAYMENT)
    places = asyncio.Semaphore(4)  # a transaction each, out of the pool that the services use too

    async def start_and_pay(order: int) -> UUID:
        run_id, _ = await asyncio.gather(house.start("payment", {"order": order}), pay(order))
        return run_id

    async def pay(order: int) -> None:
        async with places:
            await send_signal(house, "paid", {"order": order})

    async with house.services(), house.executor():
        for run_id in await asyncio.gather(*(start_and_pay(order) for order in range(100))):
            run = await house.ended(run_id)
            assert run["result"]["paid"] == {"order": run["parameters"]["order"]}
    assert await house.fetch("SELECT FROM penstock.signals") == []
    assert await count_waits(house) == 0


async def test_signals_at_the_same_time_wake_a_run_once(house: House) -> None:
    await house.deploy(ANYTHING)
    async with house.services():
        run_id = await house.start("listener")
        await house.ended(run_id, "waiting")
        woken = await asyncio.gather(*(send_signal(house, "news-2", number) for number in range(20)))
        assert sum(len(runs) for runs in woken) == 1
        run = await house.ended(run_id)
    (heard,) = [number for number, runs in enumerate(woken) if runs]
    assert (run["result"], run["attempt"]) == ({"heard": heard}, 2)
    assert len(await house.fetch("SELECT FROM penstock.signals")) == 19
