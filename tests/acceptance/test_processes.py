"""One executor in several processes: they share the work, die one by one without loss, and end together."""

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial

import aiohttp
import pytest
from aiohttp import web

from penstock import clock
from penstock.runs.admission import admit
from tests.acceptance.installation import Installation, Service
from tests.acceptance.ledger import assert_each_ran_once
from tests.acceptance.load import Load, names
from tests.eventually import eventually
from tests.factories import build_run
from tests.integration.executing import serve_outside


@pytest.mark.timeout(240)
async def test_a_process_of_an_executor_is_killed_and_nothing_is_lost(installation: Installation) -> None:
    ingress, _, executor = await asyncio.gather(
        installation.start("ingress"),
        installation.start("scheduler"),
        installation.start("executor", PENSTOCK_EXECUTOR_PROCESSES="2"),
    )
    before = _list_workers(executor)
    assert sorted(before) == [1, 2]
    load = Load(installation.http, lambda: [ingress.url], "three_things")
    posting = asyncio.create_task(load.run(names(300)))
    await eventually(lambda: _have_both_finished_runs(installation, executor), every=0.05, within=30)
    os.kill(before[1], signal.SIGKILL)
    await posting
    await eventually(lambda: _is_replaced(executor, before), within=30)
    await eventually(lambda: installation.is_ready(executor), within=30)
    await installation.settled()
    await assert_each_ran_once(installation, list(load.accepted.values()), things_each=3)
    await _assert_alive_only_while_all_are(installation, executor)
    assert 'penstock_worker_restarts_total{worker="parent"} 1.0' in await _read_metrics(installation, executor)
    after = _list_workers(executor)
    assert await executor.stop() == 0
    assert await installation.fetchval("SELECT count(*) FROM penstock.replicas WHERE service = 'executor'") == 1, (
        "all but the one that was killed have taken their leave"
    )
    assert not any(map(_is_alive, after.values()))


@pytest.mark.timeout(240)
async def test_processes_of_an_executor_end_with_the_one_that_has_started_them(installation: Installation) -> None:
    async with _hanging() as (url, called):
        installation.settings = {
            "PENSTOCK_EXECUTOR_PROCESSES": "2",
            "PENSTOCK_SECRET_OUTSIDE": url,
            "PENSTOCK_OUTGOING_ALLOW": "127.0.0.0/8",
        }
        _, executor = await asyncio.gather(installation.start("scheduler"), installation.start("executor"))
        due = clock.now() + timedelta(milliseconds=100)
        run = build_run(environment="live", workflow="fatal", version=1, scheduled_at=due)
        await installation.database.in_transaction(partial(admit, runs=[run]))
        await asyncio.wait_for(called.wait(), 30)
        workers = _list_workers(executor)
        executor.process.send_signal(signal.SIGTERM)
        await eventually(lambda: executor.log.read_text().count("service.draining") == 2, within=30)
        assert all(map(_is_alive, workers.values())), "a run is still performed, and its executor waits for it"
        assert await executor.stop() == 0, "the second signal insists"
        assert await installation.fetchval("SELECT array_agg(state || attempt) FROM penstock.runs") == ["queued1"]
        assert not any(map(_is_alive, workers.values()))

        executor = await installation.start("executor")
        workers = _list_workers(executor)
        await executor.kill()
        await eventually(lambda: not any(map(_is_alive, workers.values())), within=30)
    absent = f"{installation.database_url}_absent"
    executor = await installation.start("executor", is_awaited=False, PENSTOCK_DATABASE_URL=absent)
    assert await executor.process.wait() == 1
    assert re.search(r"worker [12] could not start: PENSTOCK_DATABASE_URL: database", executor.log.read_text())


async def _assert_alive_only_while_all_are(installation: Installation, executor: Service) -> None:
    async def read_health() -> tuple[int, object]:
        async with installation.http.get(f"{executor.admin_url}/healthz") as response:
            return response.status, await response.json()

    second = _list_workers(executor)[2]
    os.kill(second, signal.SIGSTOP)
    try:
        assert await read_health() == (503, {"status": "stuck", "stuck": ["worker 2 does not answer"]})
    finally:
        os.kill(second, signal.SIGCONT)
    assert await read_health() == (200, {"status": "ok"})


def _list_workers(executor: Service) -> dict[int, int]:
    """The process of each worker: the last that was started for its number."""
    lines = [json.loads(line) for line in executor.log.read_text().splitlines() if "worker.started" in line]
    return {line["worker"]: line["pid"] for line in lines}


async def _is_replaced(executor: Service, before: dict[int, int]) -> bool:
    now = _list_workers(executor)
    return now[1] != before[1] and now[2] == before[2]


async def _read_metrics(installation: Installation, executor: Service) -> str:
    with suppress(aiohttp.ClientError):
        async with installation.http.get(f"{executor.admin_url}/metrics") as response:
            return await response.text()
    return ""


async def _have_both_finished_runs(installation: Installation, executor: Service) -> bool:
    metrics = await _read_metrics(installation, executor)
    return {"1", "2"} <= set(re.findall(r"(?m)^penstock_finished_runs_total\{.*worker=\"(\d)\"", metrics))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@asynccontextmanager
async def _hanging() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A server that never answers; its URL, and whether it was called."""
    called = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        called.set()
        await asyncio.Event().wait()
        return web.Response()

    async with serve_outside(answer) as url:
        yield url, called
