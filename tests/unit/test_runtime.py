"""A process's life: soft stop, grace, hard stop; loops that outlive failures; probes."""

import asyncio

import aiohttp
import pytest
from aiohttp import web

from penstock.errors import ConfigurationError, DatabaseUnavailable
from penstock.http_server import serving
from penstock.runtime import Counts, Loop, Probed, Stop, add_probes, pause, repeat, supervise


async def test_soft_stop_lets_a_service_finish() -> None:
    stop, finished = Stop(), []

    async def serve(stopping: Stop) -> None:
        await stopping.soft.wait()
        finished.append("drained")

    asyncio.get_running_loop().call_soon(stop.request)
    await supervise(serve, stop, grace_seconds=5)
    assert finished == ["drained"]


async def test_second_request_is_a_hard_stop() -> None:
    stop, ended = Stop(), []

    async def serve(stopping: Stop) -> None:
        try:
            await stopping.soft.wait()
            stopping.request()
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    asyncio.get_running_loop().call_soon(stop.request)
    await supervise(serve, stop, grace_seconds=60)
    assert ended == ["cancelled"]


async def test_service_that_does_not_finish_within_its_grace_is_cancelled() -> None:
    stop = Stop()
    stop.request()
    ended = []

    async def serve(_: Stop) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    await supervise(serve, stop, grace_seconds=0.01)
    assert ended == ["cancelled"]


async def test_error_of_a_service_is_raised() -> None:
    async def serve(_: Stop) -> None:
        raise ConfigurationError("no")

    with pytest.raises(ConfigurationError, match="no"):
        await supervise(serve, Stop(), grace_seconds=1)


async def test_loop_outlives_a_failing_turn_and_ends_with_the_soft_stop() -> None:
    stop = Stop()
    turns: list[int] = []

    async def work(_: None) -> Counts:
        turns.append(len(turns))
        if len(turns) == 1:
            raise ConnectionError("away")
        stop.request()
        return Counts()

    await asyncio.wait_for(repeat(Loop("work", 0.001, work, is_upkeep=True), None, stop), 5)
    assert turns == [0, 1]


async def test_a_loop_that_can_be_woken_does_not_rest_for_long_after_a_turn_has_failed() -> None:
    stop, turns = Stop(), list[int]()

    async def run_once(_: None) -> Counts:
        turns.append(len(turns))
        if len(turns) == 1:
            raise DatabaseUnavailable("away")
        stop.request()
        return Counts()

    async with asyncio.timeout(30):
        await repeat(Loop("dispatch", 3600.0, run_once, asyncio.Event()), None, stop)
    assert len(turns) == 2


async def test_a_loop_ends_at_whatever_moment_it_is_cancelled() -> None:
    async def work(_: None) -> Counts:
        return Counts(wait_seconds=0.0001)

    for turns in range(40):
        task = asyncio.create_task(repeat(Loop("work", 0, work), None, Stop()))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        ended, _ = await asyncio.wait({task}, timeout=5)
        assert ended, f"it continued when cancelled after {turns} turns of the loop"


async def test_pause_ends_early_when_woken_and_forgets_the_wake() -> None:
    wake = asyncio.Event()
    wake.set()
    await asyncio.wait_for(pause(60, Stop(), wake), 5)
    assert not wake.is_set()


async def test_probes_tell_what_is_away_and_what_of_it_matters() -> None:
    async def holds() -> bool:
        return True

    async def fails() -> bool:
        return False

    strict, lenient = web.Application(), web.Application()
    checks = {"database": holds, "broker": fails}
    add_probes(strict, Probed(checks))
    add_probes(lenient, Probed(checks, required=("database",)))
    for app, status in ((strict, 503), (lenient, 200)):
        async with serving(app, "127.0.0.1", 0) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            async with http.get("/readyz") as response:
                assert (response.status, (await response.json())["checks"]) == (
                    status,
                    {"database": True, "broker": False},
                )
            async with http.get("/healthz") as response:
                assert response.status == 200
            async with http.get("/metrics") as response:
                assert "penstock_runs_ready" in await response.text()


async def test_port_that_is_taken_is_a_clear_error() -> None:
    async with serving(web.Application(), "127.0.0.1", 0) as port:
        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with serving(web.Application(), "127.0.0.1", port):
                pass
