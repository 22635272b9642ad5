"""A chain that doubles at each step is stopped at once, on three executors, and resumed until its tree is complete."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import aiohttp
import pytest

from penstock.broker.inprocess import InProcessBroker
from penstock.contracts.topology import topology
from penstock.runtime import Resources, Stop
from penstock.testing.ports import find_port
from penstock_ingress.app import serve
from penstock_ingress.settings import IngressSettings
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House, open_house

LEVELS: Final = int(os.environ.get("PENSTOCK_TEST_DOUBLINGS", "12"))
"""How often the chain doubles: 12 make a tree of 8,191 runs, stopped at 5,119, in some 10 s; 14 make 32,767, stopped at
20,479, in less than a minute.
"""
TREE: Final = 2 ** (LEVELS + 1) - 1
STOPPED_AT: Final = TREE * 5 // 8
ADMIN_TOKEN: Final = "stopping-admin-token-0123456789"
SPLIT: Final = """
workflow: split
parameters: {path: text, left: number}
steps:
  - create: thing
    set: {code: "${params.path}"}
  - when: params.left > 0
    schedule: split
    with: {path: "${params.path}0", left: "${params.left - 1}"}
  - when: params.left > 0
    schedule: split
    with: {path: "${params.path}1", left: "${params.left - 1}"}
"""


@dataclass
class Installation:
    """A house with three executors, two schedulers and an ingress, whose management API is at `url`."""

    house: House
    url: str

    async def post(self, path: str) -> dict[str, object]:
        """What the management API answers."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.post(f"{self.url}/v1/{ENVIRONMENT}/{path}", json={}) as response,
        ):
            answer: dict[str, object] = await response.json()
            assert response.status == 200, answer
            return answer

    async def now(self) -> datetime:
        """The database's clock."""
        (row,) = await self.house.fetch("SELECT clock_timestamp() AS now")
        now: datetime = row["now"]
        return now

    async def count(self, condition: str = "true") -> int:
        """How many runs there are of which that is so."""
        (row,) = await self.house.fetch(f"SELECT count(*) AS runs FROM penstock.runs WHERE {condition}")
        runs: int = row["runs"]
        return runs


@pytest.fixture
async def installation(database_url: str) -> AsyncIterator[Installation]:
    """An installation whose chain may go 30 deep."""
    async with AsyncExitStack() as stack:
        broker = InProcessBroker(topology())
        stack.push_async_callback(broker.close)
        house = await stack.enter_async_context(open_house(database_url, broker))
        await house.deploy(SPLIT, depth_limit=30)
        await house.fetch("UPDATE penstock.environments SET chain_runs_limit = 1000000")
        url = await stack.enter_async_context(serving_ingress(house))
        await stack.enter_async_context(house.services(schedulers=2))
        for _ in range(2):
            await stack.enter_async_context(house.executor())
        yield Installation(house, url)


@asynccontextmanager
async def serving_ingress(house: House) -> AsyncIterator[str]:
    """An ingress on the house's database and broker; the URL of its admin port."""
    settings = IngressSettings.model_validate(
        {
            "database_url": "postgresql://unused",
            "amqp_url": "amqp://unused",
            "admin_token": ADMIN_TOKEN,
            "port": find_port(),
            "admin_port": find_port(),
        }
    )
    stop, url = Stop(), f"http://127.0.0.1:{settings.admin_port}"
    task = asyncio.create_task(serve(settings, stop, Resources(house.database, house.broker)))

    async def is_ready() -> bool:
        try:
            async with aiohttp.request("GET", f"{url}/readyz") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    await eventually(is_ready)
    try:
        yield url
    finally:
        stop.request()
        await task


@pytest.mark.timeout(600)
async def test_nothing_starts_after_a_stop_and_a_resume_completes_the_tree(installation: Installation) -> None:
    house = installation.house
    root = await house.start("split", {"path": "x", "left": LEVELS})
    await eventually(lambda: has_grown(installation), within=240, every=0.1)

    stopped = await installation.post(f"chains/{root}/stop")
    answered_at = await installation.now()
    assert stopped["stopped"] is True
    await eventually(lambda: is_past(installation, answered_at + timedelta(seconds=3)))

    assert await installation.count("state IN ('scheduled', 'queued', 'running', 'waiting')") == 0
    late = await house.fetch(
        "SELECT id, started_at, state FROM penstock.runs WHERE started_at > $1", answered_at + timedelta(seconds=1)
    )
    assert late == []
    # What admission let in and the claim has ended would have been queued in between.
    (fence,) = await house.fetch("SELECT stopped_at FROM penstock.chains WHERE id = $1", root)
    assert (
        await house.fetch(
            "SELECT id, state FROM penstock.runs WHERE created_at > $1 AND dispatched_at IS NOT NULL",
            fence["stopped_at"],
        )
        == []
    )
    assert await installation.count("state = 'succeeded'") < TREE

    await installation.post(f"chains/{root}/resume")
    await eventually(lambda: is_complete(installation), within=240, every=0.2)
    await check_tree(house, root)
    assert (await installation.post(f"chains/{root}/resume"))["resumed"] == 0


async def has_grown(installation: Installation) -> bool:
    return bool(await installation.count() >= STOPPED_AT)


async def is_past(installation: Installation, moment: datetime) -> bool:
    return bool(await installation.now() > moment)


async def is_complete(installation: Installation) -> bool:
    return bool(await installation.count("state = 'succeeded'") == TREE)


async def check_tree(house: House, root: UUID) -> None:
    """Each place in the tree has one run, which succeeded, and one thing."""
    runs = await house.fetch("SELECT state, parameters ->> 'path' AS path FROM penstock.runs")
    paths = {f"x{number:b}".replace("x1", "x", 1) for number in range(1, TREE + 1)}
    assert len(runs) == TREE
    assert {run["path"] for run in runs} == paths
    assert {run["state"] for run in runs} == {"succeeded"}
    assert sorted(thing["code"] for thing in await house.things()) == sorted(paths)
    (chain,) = await house.fetch("SELECT runs FROM penstock.chains WHERE id = $1", root)
    assert chain["runs"] == TREE
