"""Batches of bulk are small while somebody waits for an answer, and as large as ever when nobody does."""

import pytest

from penstock.contracts.topology import BULK_LANE, DEFAULT_LANE
from penstock_executor.holding.courtesy import MAX_GRAIN, MIN_GRAIN, TARGET_SECONDS, Courtesy, next_grain
from penstock_executor.holding.slots import Slots
from tests.eventually import eventually

SLOW = 2 * TARGET_SECONDS


async def test_bulk_gives_way_from_the_first_who_waits_until_some_time_after_the_last() -> None:
    told: list[int | None] = []
    courtesy = Courtesy(told.append, hold_seconds=0.01)
    courtesy.begin()
    courtesy.begin()
    assert told == [20], "before the claim, and once"
    courtesy.note(TARGET_SECONDS / 2)
    courtesy.note(SLOW)
    assert told == [20, 22, 17]
    await eventually(lambda: told[-1] is None)
    courtesy.note(TARGET_SECONDS / 2)
    assert told[-1] is None, "a claim that ends late does not begin it again"
    courtesy.begin()
    assert told[-1] == 19, "what was found out before still holds"


@pytest.mark.parametrize(
    ("grain", "seconds", "fastest", "expected"),
    [
        (50, SLOW, 0.001, 40),
        (MIN_GRAIN, SLOW, 0.001, MIN_GRAIN),
        (50, TARGET_SECONDS, 0.001, 52),
        (MAX_GRAIN, 0.001, 0.001, MAX_GRAIN),
        (50, SLOW, SLOW * 0.6, 52),  # a database that needs so long by itself
        (50, 10 * SLOW, SLOW * 0.6, 40),
    ],
)
def test_batches_shrink_while_claims_take_longer_than_they_have_to(
    grain: int, seconds: float, fastest: float, expected: int
) -> None:
    assert next_grain(grain, seconds, fastest=fastest) == expected


async def test_a_grain_bounds_what_bulk_gets_at_once_and_not_what_calls_get() -> None:
    slots = Slots(100, is_shared=True)
    slots.grain = 5
    assert [await slots.take(50, until=0, lane=BULK_LANE) for _ in range(3)] == [5, 5, 5]
    assert await slots.take(50, until=0, lane=DEFAULT_LANE) == 50
    slots.grain = None
    assert await slots.take(50, until=0, lane=BULK_LANE) == 35
