"""Runs that wait, in real processes whose database's time is moved: over restarts and deploys, thousands at once;
and runs that kill.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest
from aiohttp import web

from penstock import clock
from penstock.runs.admission import admit
from penstock.testing.time import advance
from tests.acceptance.console import clean_environment, penstock
from tests.acceptance.installation import APP, Installation, Service
from tests.eventually import eventually
from tests.factories import build_run
from tests.integration.executing import serve_outside
from tests.site import deploy_directory

Services = tuple[Service, Service, Service]
MANY = 5_000


@pytest.fixture
def database_url(movable_database_url: str) -> str:
    """The database of these installations."""
    return movable_database_url


@dataclass
class Memory:
    """What a process holds, in bytes."""

    process: int

    def read(self) -> int:
        """Its resident memory."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.process}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024


async def _count(installation: Installation, state: str, count: int) -> bool:
    found = await installation.fetchval("SELECT count(*) FROM penstock.runs WHERE state = $1", state)
    assert found == count
    return True


async def _deploy_changed(installation: Installation, directory: Path, changes: Mapping[str, str]) -> None:
    """Deploy the app with other texts in its workflows."""
    for path in APP.rglob("*.yaml"):
        text = path.read_text()
        for old, new in changes.items():
            text = text.replace(old, new)
        target = directory / path.relative_to(APP)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    await deploy_directory(installation.database, directory, ["live"])


async def test_a_run_waits_thirty_days_over_a_restart_and_a_deploy(installation: Installation, tmp_path: Path) -> None:
    services = await installation.start_all()
    status, answer = await installation.call(services[0], "patient", {"name": "long"})
    assert (status, answer) == (200, {"status": "success", "response": {"name": "long"}})
    await eventually(lambda: _count(installation, "waiting", 1))
    for service in services:
        assert await service.stop() == 0
    await _deploy_changed(installation, tmp_path / "changed", {"position: 2": "position: 99"})
    async with installation.database.connection() as conn:
        await advance(conn, timedelta(days=29))
    await installation.start_all()
    assert await installation.count_things() == 1
    async with installation.database.connection() as conn:
        await advance(conn, timedelta(days=1))
    await installation.settled()
    assert await installation.fetchval("SELECT (state, version, attempt)::text FROM penstock.runs") == "(succeeded,1,2)"
    assert await installation.fetchval("SELECT array_agg(position ORDER BY position) FROM live.thing") == [1, 2]


async def test_a_caller_is_told_to_come_again_and_the_signal_brings_the_answer(installation: Installation) -> None:
    ingress, _, _ = await installation.start_all()
    status, accepted = await installation.call(ingress, "expectant", {"name": "Ada"}, Prefer="wait=1")
    assert status == 202
    await eventually(lambda: _count(installation, "waiting", 1))
    call = asyncio.create_task(installation.call(ingress, "expectant", {"name": "Bob"}))
    await eventually(lambda: _count(installation, "waiting", 2))
    for name in ("Ada", "Bob"):
        posted = await installation.manage(ingress, "POST", "live/signals/go", {"name": name, "word": f"hello {name}"})
        assert posted == (200, {"woken": 1, "kept": False, "duplicate": False})
    assert await call == (200, {"status": "success", "response": {"heard": "hello Bob"}})
    await installation.settled()
    run_id = cast("dict[str, str]", accepted)["run_id"]
    result = await installation.fetchval("SELECT result FROM penstock.runs WHERE id = $1", UUID(run_id))
    assert result == {"heard": "hello Ada"}


@pytest.mark.timeout(300)
async def test_thousands_of_waiting_runs_take_no_memory_of_the_executor(installation: Installation) -> None:
    ingress, _, executor = await installation.start_all()
    memory = Memory(executor.process.pid)
    await _start_idlers(installation, 500)  # so that what is loaded once is loaded
    await eventually(lambda: _count(installation, "waiting", 500), within=60)
    before = memory.read()
    await _start_idlers(installation, MANY)
    await eventually(lambda: _count(installation, "waiting", MANY + 500), within=200, every=0.2)
    grown = memory.read() - before
    # What was in flight at the time of reading counts too, on a busy machine up to 27 MiB; a run that were kept, with
    # its task and what it has read, would take more than ten KiB.
    assert grown < MANY * 8 * 1024, f"{grown / 1024 / 1024:.1f} MiB more"
    posted = await installation.manage(ingress, "POST", "live/signals/everybody", {})
    assert posted == (200, {"woken": MANY + 500, "kept": False, "duplicate": False})
    await installation.settled(within=200)
    assert await _count(installation, "succeeded", MANY + 500)


async def _start_executor(installation: Installation, outside: str, *, lease_seconds: int = 1) -> Service:
    """An executor whose runs may call the server `outside`."""
    return await installation.start(
        "executor",
        PENSTOCK_SECRET_OUTSIDE=outside,
        PENSTOCK_OUTGOING_ALLOW="127.0.0.0/8",
        PENSTOCK_LEASE_SECONDS=str(lease_seconds),
    )


def _has(calls: Sequence[object], count: int) -> bool:
    return len(calls) == count


async def _start_idlers(installation: Installation, count: int) -> None:
    for first in range(0, count, 1000):
        due = clock.now() + timedelta(milliseconds=100)
        runs = [
            build_run(environment="live", workflow="idler", version=1, scheduled_at=due)
            for _ in range(first, min(first + 1000, count))
        ]
        await installation.database.in_transaction(partial(admit, runs=runs))


@pytest.mark.timeout(240)
async def test_a_run_that_kills_three_executors_is_given_up_and_can_be_retried(installation: Installation) -> None:
    calls: list[str | None] = []
    answers = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        calls.append(request.headers.get("Idempotency-Key"))
        await answers.wait()
        return web.json_response({})

    async with serve_outside(answer) as url:
        ingress, _ = await asyncio.gather(installation.start("ingress"), installation.start("scheduler"))
        status, run = await installation.manage(ingress, "POST", "live/runs", {"workflow": "fatal"})
        assert status == 201
        run_id = cast("dict[str, str]", run)["id"]
        for number in range(1, 4):
            executor = await _start_executor(installation, url)
            await eventually(partial(_has, calls, number), within=30)
            await executor.kill()
        await eventually(lambda: _count(installation, "failed", 1), within=30)
        error = await installation.fetchval("SELECT error FROM penstock.runs")
        assert cast("dict[str, str]", error)["kind"] == "crashed"
        assert await installation.count_things() == 1
        answers.set()
        await _start_executor(installation, url)
        environment = clean_environment(
            PENSTOCK_DATABASE_URL=installation.database_url, PENSTOCK_AMQP_URL=installation.amqp_url
        )
        listed = await penstock("runs", "list", "--state", "failed", "--json", environment=environment)
        assert [row["id"] for row in cast("list[dict[str, str]]", listed.json["results"])] == [run_id]
        retried = await penstock("runs", "retry", run_id, environment=environment)
        assert (retried.code, retried.out.split()) == (0, [run_id, "queued"])
        await installation.settled()
    assert await _count(installation, "succeeded", 1)
    assert await installation.fetchval("SELECT array_agg(name ORDER BY created_date) FROM live.thing") == [
        "before",
        "after",
    ]
    assert (len(calls), set(calls)) == (4, {f"{run_id}/step2"})
    again = await penstock("runs", "retry", run_id, environment=environment)
    assert (again.code, again.err) == (1, f"penstock: run {run_id} is succeeded; only a failed run can be retried\n")


async def test_the_command_line_cancels_what_runs_and_what_waits(installation: Installation) -> None:
    given_up = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()
        raise AssertionError

    async with serve_outside(answer) as url:
        # A renewal would come after 20 s: it is the event that tells the executor.
        starting = (
            installation.start("ingress"),
            installation.start("scheduler"),
            _start_executor(installation, url, lease_seconds=60),
        )
        ingress, _, _ = await asyncio.gather(*starting)
        ids = []
        for workflow, state in (("idler", "waiting"), ("fatal", "running")):
            _, run = await installation.manage(ingress, "POST", "live/runs", {"workflow": workflow})
            ids.append(cast("dict[str, str]", run)["id"])
            await eventually(partial(_count, installation, state, 1))
        await eventually(installation.count_things)
        environment = clean_environment(
            PENSTOCK_DATABASE_URL=installation.database_url, PENSTOCK_AMQP_URL=installation.amqp_url
        )
        cancelled = await penstock("runs", "cancel", *ids, environment=environment)
        assert (cancelled.code, cancelled.out.split()) == (0, [ids[0], "cancelled", ids[1], "cancelled"])
        async with asyncio.timeout(10):
            await given_up.wait()
        again = await penstock(
            "runs", "cancel", ids[0], "00000000-0000-8000-8000-000000000000", environment=environment
        )
        assert again.code == 1
        assert "had ended before" in again.out
        assert again.err == "penstock: no run 00000000-0000-8000-8000-000000000000\n"
    assert await installation.fetchval("SELECT array_agg(name) FROM live.thing") == ["before"]
