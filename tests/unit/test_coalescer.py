"""The batching device: a lone call leaves at once, and what comes meanwhile leaves together."""

import asyncio
from collections.abc import Sequence

import pytest

from penstock.db import Coalescer


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
    coalescer: Coalescer[int, int] = Coalescer(sink.flush, lanes=1)
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
    coalescer: Coalescer[int, int] = Coalescer(sink.flush, lanes=1, most=2)
    assert await asyncio.gather(*(coalescer.submit(number) for number in (2, 4, 6))) == [4, 8, 12]
    assert sink.batches == [[2, 4], [6]]


async def test_lanes_bound_the_flushes_under_way() -> None:
    sink = Sink()
    coalescer: Coalescer[int, int] = Coalescer(sink.flush, lanes=2, most=1)
    results = [coalescer.submit(number) for number in (2, 4, 6)]
    await asyncio.sleep(0.01)
    assert sink.batches == [[2], [4]]
    sink.gate.set()
    assert await asyncio.gather(*results) == [4, 8, 12]


async def test_one_bad_item_fails_alone() -> None:
    sink = Sink()
    sink.gate.set()
    coalescer: Coalescer[int, int] = Coalescer(sink.flush)
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

    coalescer: Coalescer[int, int] = Coalescer(flush)
    with pytest.raises(ConnectionError, match="away"):
        await coalescer.submit(1)
    assert await coalescer.submit(2) == 2


async def test_waiter_that_gave_up_does_not_disturb_the_others() -> None:
    sink = Sink()
    coalescer: Coalescer[int, int] = Coalescer(sink.flush)
    given_up, kept = coalescer.submit(2), coalescer.submit(4)
    given_up.cancel()
    sink.gate.set()
    assert await kept == 8
    assert sink.batches == [[2, 4]]


async def test_drain_waits_for_everything_submitted() -> None:
    sink = Sink()
    coalescer: Coalescer[int, int] = Coalescer(sink.flush, lanes=1, most=1)
    results = [coalescer.submit(number) for number in (2, 4)]
    sink.gate.set()
    await coalescer.drain()
    assert all(result.done() for result in results)
