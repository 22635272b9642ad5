"""What a process's liveness and readiness are decided by. Time moves because the test moves it."""

import asyncio

import aiohttp
import pytest
from aiohttp import web

from penstock.http_server import serving
from penstock.runtime import Counts, Loop, Probed, Pulse, Stop, add_probes, repeat
from penstock.runtime.pulse import CONSUMPTION_LIMIT_SECONDS, Consumption, turn_limit


class Clock:
    """Seconds, as the test has them."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def probe(probed: Probed, path: str) -> tuple[int, dict[str, object]]:
    app = web.Application()
    add_probes(app, probed)
    async with (
        serving(app, "127.0.0.1", 0) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
        http.get(path) as response,
    ):
        return response.status, await response.json()


async def test_a_turn_that_does_not_end_fails_the_liveness_probe_until_it_does(clock: Clock) -> None:
    pulse, stop, may_end, turns = Pulse(clock), Stop(), asyncio.Event(), asyncio.Event()

    async def hang(_: None) -> Counts:
        turns.set()
        await may_end.wait()
        stop.request()
        return Counts()

    task = asyncio.create_task(repeat(Loop("expand_lists", 1.0, hang), None, stop, pulse))
    async with asyncio.timeout(20):
        await turns.wait()
        assert (await probe(Probed({}, pulse=pulse), "/healthz"))[0] == 200
        clock.seconds += turn_limit(1.0) + 1
        answer = await probe(Probed({}, pulse=pulse), "/healthz")
        assert answer == (503, {"status": "stuck", "stuck": ["the loop expand_lists takes too long"]})
        may_end.set()
        await task
    assert (await probe(Probed({}, pulse=pulse), "/healthz")) == (200, {"status": "ok"})


async def test_turns_that_fail_again_and_again_are_no_reason_to_restart(clock: Clock) -> None:
    """The database is away: a restart would not bring it back."""
    pulse, stop, turns = Pulse(clock), Stop(), []

    async def fail(_: None) -> Counts:
        clock.seconds += 200
        turns.append(clock.seconds)
        if len(turns) == 10:
            stop.request()
        raise ConnectionError("away")

    await asyncio.wait_for(repeat(Loop("fail", 0.001, fail, is_upkeep=True), None, stop, pulse), 20)
    assert pulse.find_stuck() == []


def test_rare_work_may_take_longer() -> None:
    assert turn_limit(0.05) == turn_limit(5.0) == 300
    assert turn_limit(3600.0) == 6 * 3600


async def test_a_task_that_has_ended_by_itself_is_found(clock: Clock) -> None:
    pulse = Pulse(clock)

    async def break_down() -> None:
        raise ValueError("a mistake")

    broken = asyncio.create_task(break_down())
    cancelled = asyncio.create_task(asyncio.Event().wait())
    pulse.expect("renew_leases", broken)
    pulse.expect("poll", cancelled)
    cancelled.cancel()
    await asyncio.wait({broken, cancelled})
    await asyncio.sleep(0)
    assert pulse.find_stuck() == ["renew_leases has ended"]
    assert broken.exception() is not None


def look(consumption: Consumption, clock: Clock, *waiting: int | None) -> bool:
    """Look once for each of these numbers, a minute apart; whether the consumer is stuck then."""
    for number in waiting:
        consumption.look(number, clock.seconds)
        clock.seconds += CONSUMPTION_LIMIT_SECONDS / 2
    return consumption.is_stuck(clock.seconds)


def test_a_consumer_that_gets_nothing_of_what_waits_is_stuck(clock: Clock) -> None:
    consumption = Consumption(prefetch=10)
    assert not look(consumption, clock, 5, 5)
    assert look(consumption, clock, 5)


def test_a_consumer_that_gets_something_is_not_stuck(clock: Clock) -> None:
    consumption = Consumption(prefetch=10)
    for _ in range(10):
        consumption.received += 1
        assert not look(consumption, clock, 5)


@pytest.mark.parametrize("waiting", [0, None])
def test_a_consumer_for_which_nothing_waits_is_not_stuck(waiting: int | None, clock: Clock) -> None:
    assert not look(Consumption(prefetch=10), clock, 5, 5, waiting, 5, 5)


def test_a_consumer_that_has_its_hands_full_is_not_stuck(clock: Clock) -> None:
    """Each of its messages has a limit of its own."""
    consumption = Consumption(prefetch=3)
    consumption.under_way = 3
    assert not look(consumption, clock, *[5] * 10)


async def test_readiness_is_off_at_the_soft_stop_whatever_the_servers_do() -> None:
    stop = Stop()

    async def hangs() -> bool:
        await asyncio.Event().wait()
        return True

    stop.request()
    async with asyncio.timeout(20):
        answer = await probe(Probed({"database": hangs}, is_leaving=stop.soft.is_set), "/readyz")
        assert answer == (503, {"status": "draining", "checks": {}})
        assert (await probe(Probed({}, is_leaving=stop.soft.is_set), "/healthz"))[0] == 200, "it is to drain in peace"
