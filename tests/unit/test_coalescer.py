"""The batching device: a lone call leaves at once, and what comes meanwhile leaves together."""

import asyncio
from collections.abc import Sequence

import pytest

from penstock.db import Coalescer, isolate
from penstock.errors import DatabaseUnavailable
from tests.eventually import eventually


class Sink:
    """A flush that waits to be let go, and doubles what it gets."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()

    async def flush(self, items: list[int]) -> Sequence[int | BaseException]:
        self.batches.append(items)
        await self.gate.wait()
        return [ValueError("odd") if item % 2 else item * 2 for item in items]


async def test_lone_item_leaves_at_once_and_what_comes_meanwhile_leaves_together() -> None:
    sink = Sink()
    coalescer: Coalescer[int, int] = Coalescer(sink.flush, name="tests", lanes=1)
    first = coalescer.submit(2)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sink.batches == [[2]]
    rest = [coalescer.submit(number) for number in (4, 6, 8)]
    sink.gate.set()
    assert await first == 4
    assert await asyncio.gather(*rest) == [8, 12, 16]
    assert sink.batches == [[2], [4, 6, 8]]


async def test_items_of_one_turn_of_the_loop_share_a_batch_of_at_most_so_many() -> None:
    sink = Sink()
    sink.gate.set()
    coalescer: Coalescer[int, int] = Coalescer(sink.flush, name="tests", lanes=1, most=2)
    assert await asyncio.gather(*(coalescer.submit(number) for number in (2, 4, 6))) == [4, 8, 12]
    assert sink.batches == [[2, 4], [6]]


async def test_lanes_bound_the_flushes_under_way() -> None:
    sink = Sink()
    coalescer: Coalescer[int, int] = Coalescer(sink.flush, name="tests", lanes=2, most=1)
    results = [coalescer.submit(number) for number in (2, 4, 6)]
    await asyncio.sleep(0.01)
    assert sink.batches == [[2], [4]]
    sink.gate.set()
    assert await asyncio.gather(*results) == [4, 8, 12]


async def test_a_packed_batch_leaves_beside_another_once_two_thirds_as_many_wait() -> None:
    sink = Sink()
    coalescer: Coalescer[int, int] = Coalescer(sink.flush, name="tests", lanes=3, packs=True)
    results = [coalescer.submit(2) for _ in range(6)]
    await turn()
    results += [coalescer.submit(4) for _ in range(3)]
    await turn()
    assert sink.batches == [[2] * 6]
    results.append(coalescer.submit(4))
    await turn()
    assert sink.batches == [[2] * 6, [4] * 4]
    sink.gate.set()
    assert await asyncio.gather(*results) == [4] * 6 + [8] * 4


async def test_few_items_do_not_wait_for_a_flush_that_is_stuck() -> None:
    sink = Sink()
    coalescer: Coalescer[int, int] = Coalescer(sink.flush, name="tests", lanes=2, packs=True)
    stuck = [coalescer.submit(2) for _ in range(6)]
    await turn()
    late = coalescer.submit(4)
    await eventually(lambda: sink.batches == [[2] * 6, [4]])
    sink.gate.set()
    assert await asyncio.gather(*stuck, late) == [4] * 6 + [8]


async def turn() -> None:
    """Let a flush begin that is due."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_one_bad_item_fails_alone() -> None:
    sink = Sink()
    sink.gate.set()
    coalescer: Coalescer[int, int] = Coalescer(sink.flush, name="tests")
    results = await asyncio.gather(*(coalescer.submit(number) for number in (2, 3)), return_exceptions=True)
    assert results[0] == 4
    assert isinstance(results[1], ValueError)


async def test_flush_that_raises_fails_its_batch_and_the_next_one_goes_on() -> None:
    calls = 0

    async def flush(items: list[int]) -> Sequence[int]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ConnectionError("away")
        return items

    coalescer: Coalescer[int, int] = Coalescer(flush, name="tests")
    with pytest.raises(ConnectionError, match="away"):
        await coalescer.submit(1)
    assert await coalescer.submit(2) == 2


async def test_waiter_that_gave_up_does_not_disturb_the_others() -> None:
    sink = Sink()
    coalescer: Coalescer[int, int] = Coalescer(sink.flush, name="tests")
    given_up, kept = coalescer.submit(2), coalescer.submit(4)
    given_up.cancel()
    sink.gate.set()
    assert await kept == 8
    assert sink.batches == [[2, 4]]


async def test_drain_waits_for_everything_submitted() -> None:
    sink = Sink()
    coalescer: Coalescer[int, int] = Coalescer(sink.flush, name="tests", lanes=1, most=1)
    results = [coalescer.submit(number) for number in (2, 4)]
    sink.gate.set()
    await coalescer.drain()
    assert all(result.done() for result in results)


class Table:
    """A flush that stores all of its items or none, and refuses a batch that holds a negative one."""

    def __init__(self, *, away_after: int = 100) -> None:
        self.batches: list[list[int]] = []
        self.stored: list[int] = []
        self._away_after = away_after

    async def flush(self, items: list[int]) -> Sequence[int]:
        self.batches.append(items)
        if len(self.batches) > self._away_after:
            raise DatabaseUnavailable("away")
        if any(item < 0 for item in items):
            raise ValueError(f"{min(items)} does not fit")
        self.stored += items
        return [item * 2 for item in items]


async def test_a_flush_that_raises_is_repeated_by_halves_until_the_bad_item_stands_alone() -> None:
    table = Table()
    coalescer: Coalescer[int, int] = Coalescer(table.flush, name="tests")
    results = await asyncio.gather(*(coalescer.submit(number) for number in (1, 2, -3, 4, 5)), return_exceptions=True)
    assert [result if isinstance(result, int) else str(result) for result in results] == [
        2,
        4,
        "-3 does not fit",
        8,
        10,
    ]
    assert sorted(table.stored) == [1, 2, 4, 5]


async def test_one_bad_item_among_many_costs_a_few_flushes_not_one_for_each_item() -> None:
    table = Table()
    results = await isolate([*range(499), -1], table.flush)
    assert sum(isinstance(result, ValueError) for result in results) == 1
    assert len(table.batches) < 20


async def test_while_the_database_is_away_no_half_is_tried_and_what_is_stored_stays_so() -> None:
    table = Table(away_after=0)
    results = await isolate(range(8), table.flush)
    assert [type(result) for result in results] == [DatabaseUnavailable] * 8
    assert len(table.batches) == 1
    table = Table(away_after=2)
    results = await isolate([1, 2, -3, 4], table.flush)
    assert results[:2] == [2, 4]
    assert [type(result) for result in results[2:]] == [DatabaseUnavailable] * 2


async def test_a_connection_lost_in_a_flush_is_about_all_of_its_items() -> None:
    calls = 0

    async def flush(items: list[int]) -> Sequence[int]:
        nonlocal calls
        calls += 1
        raise ConnectionResetError("reset by peer")

    assert [str(result) for result in await isolate([1, 2, 3], flush)] == ["reset by peer"] * 3
    assert calls == 1


async def test_adjusted_flushes_are_fewer_and_no_heavier_than_asked_for() -> None:
    sink = Sink()
    coalescer: Coalescer[int, int] = Coalescer(sink.flush, name="tests", lanes=2)
    coalescer.adjust(lanes=1, most=10, weigh=int)
    all_of_them = [coalescer.submit(number) for number in (4, 6, 2, 20, 2, 2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sink.batches == [[4, 6]], "one flush at a time"
    coalescer.adjust(lanes=2, most=10, weigh=int)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sink.batches == [[4, 6], [2]], "and at once as many as asked for now"
    coalescer.adjust(lanes=2, most=10)
    sink.gate.set()
    assert await asyncio.gather(*all_of_them) == [8, 12, 4, 40, 4, 4]
    assert sink.batches == [[4, 6], [2], [20, 2, 2]], "counted again, and not weighed"


async def test_an_item_that_is_too_heavy_is_flushed_alone() -> None:
    sink = Sink()
    coalescer: Coalescer[int, int] = Coalescer(sink.flush, name="tests", lanes=1)
    coalescer.adjust(lanes=1, most=3, weigh=int)
    sink.gate.set()
    assert await asyncio.gather(*(coalescer.submit(number) for number in (8, 2, 8))) == [16, 4, 16]
    assert sink.batches == [[8], [2], [8]]
