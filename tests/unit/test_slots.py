"""Who gets an executor's slots when they are few."""

import asyncio

import pytest

from penstock.contracts.topology import BULK_LANE, DEFAULT_LANE
from penstock_executor.handlers import read_order
from penstock_executor.holding.slots import Slots


def later() -> float:
    return asyncio.get_running_loop().time() + 60


async def test_those_who_wait_are_served_by_priority_then_by_lane_then_in_order() -> None:
    slots, order = Slots(1), list[str]()
    assert await slots.take(1, until=later()) == 1

    async def pass_through(name: str, lane: str, priority: int) -> None:
        await slots.take(1, until=later(), lane=lane, priority=priority)
        order.append(name)
        slots.give_back(1, lane)

    async with asyncio.TaskGroup() as group:
        for name, lane, priority in (
            ("ninth", DEFAULT_LANE, 9), ("bulk", BULK_LANE, 5), ("second", DEFAULT_LANE, 5),
            ("third", DEFAULT_LANE, 5), ("first", BULK_LANE, 0),
        ):  # fmt: skip
            group.create_task(pass_through(name, lane, priority))
            await asyncio.sleep(0)
        slots.give_back(1)
    assert order == ["first", "second", "third", "bulk", "ninth"]


async def test_bulk_leaves_a_quarter_of_the_slots_to_calls() -> None:
    slots = Slots(40, is_shared=True)
    assert await slots.take(100, until=later(), lane=BULK_LANE) == 20
    assert await slots.take(100, until=later(), lane=BULK_LANE) == 10
    assert await slots.take(1, until=0, lane=BULK_LANE) == 0
    assert await slots.take(100, until=later(), lane=DEFAULT_LANE) == 10


async def test_calls_leave_a_tenth_to_bulk_that_waits() -> None:
    slots = Slots(40, is_shared=True)
    assert await slots.take(100, until=later()) == 20
    assert await slots.take(100, until=later()) == 20
    bulk = asyncio.create_task(slots.take(100, until=later(), lane=BULK_LANE))
    call = asyncio.create_task(slots.take(100, until=later()))
    await asyncio.sleep(0)
    slots.give_back(4)
    assert await bulk == 4
    slots.give_back(3)
    assert await call == 3


async def test_bulk_that_has_given_up_waiting_keeps_no_slots_from_calls() -> None:
    slots = Slots(40, is_shared=True)
    assert await slots.take(100, until=later()) == 20
    assert await slots.take(100, until=later()) == 20
    assert await slots.take(100, until=0, lane=BULK_LANE) == 0
    slots.give_back(4)
    assert await slots.take(100, until=later()) == 4


async def test_slots_that_are_given_back_one_by_one_in_one_turn_are_handed_out_together() -> None:
    slots = Slots(40)
    assert await slots.take(100, until=later()) == 20
    assert await slots.take(100, until=later()) == 20
    waiters = [asyncio.create_task(slots.take(100, until=later())) for _ in range(3)]
    await asyncio.sleep(0)
    for _ in range(15):
        slots.give_back(1)
    assert await waiters[0] == 15, "each claim asks for as many runs as there are slots"
    slots.close()
    assert await asyncio.gather(*waiters[1:]) == [0, 0]


async def test_who_gives_up_while_it_is_served_gives_the_slots_back() -> None:
    slots = Slots(1)
    await slots.take(1, until=later())
    waiter = asyncio.create_task(slots.take(1, until=later()))
    await asyncio.sleep(0)
    slots.give_back(1)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert slots.taken == 0


async def test_closing_sends_everybody_away() -> None:
    slots = Slots(1)
    await slots.take(1, until=later())
    waiter = asyncio.create_task(slots.take(1, until=later()))
    await asyncio.sleep(0)
    slots.close()
    assert await waiter == 0
    assert await slots.take(1, until=later()) == 0


@pytest.mark.parametrize(
    ("headers", "order"),
    [
        ({}, ("interactive", 5)),
        ({"lane": "default"}, ("interactive", 5)),
        ({"lane": "bulk", "priority": 0}, ("bulk", 0)),
        ({"lane": 7, "priority": 10}, ("interactive", 5)),
        ({"priority": True}, ("interactive", 5)),
        ({"priority": "1"}, ("interactive", 5)),
    ],
)
def test_a_message_that_does_not_say_its_order_has_that_of_most(
    headers: dict[str, object], order: tuple[str, int]
) -> None:
    assert read_order(headers) == order
