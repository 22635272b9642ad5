"""Replicas come and go under load, by orderly stops and with another release: no request fails but on a connection that
was refused, and nothing is lost or done twice.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from penstock.db import open_database
from penstock.testing.databases import fresh_database
from tests.acceptance.installation import ADMIN_TOKEN, APP, Installation, Service
from tests.acceptance.ledger import assert_each_ran_once, listening
from tests.acceptance.load import Load, names
from tests.acceptance.releases import penstock, unpack_previous
from tests.eventually import eventually
from tests.servers import Servers

ROUNDS = int(os.environ.get("PENSTOCK_TEST_ROUNDS", "1"))
PAUSE_SECONDS = 0.05
KINDS = ("ingress", "scheduler", "executor")


class Caller:
    """Calls steadily until it is stopped, each time over a new connection, as a proxy's first request to a
    replica; a refused connection is tried again elsewhere, and everything else has to be accepted.
    """

    def __init__(self, ingresses: list[Service]) -> None:
        self._ingresses = ingresses
        self.accepted: list[str] = []
        self.failures: list[str] = []
        self.is_stopped = False

    async def call_on(self, who: int) -> None:
        number = 0
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
            while not self.is_stopped:
                number += 1
                await self._call(http, f"caller-{who}-{number}")
                await asyncio.sleep(PAUSE_SECONDS)

    async def _call(self, http: aiohttp.ClientSession, name: str) -> None:
        for turn in range(200):
            url = self._ingresses[turn % len(self._ingresses)].url
            try:
                async with http.post(
                    f"{url}/api/1.1/wf/three_things",
                    json={"name": name},
                    headers={"Authorization": f"Bearer {ADMIN_TOKEN}", "Idempotency-Key": name},
                ) as response:
                    if response.status in {200, 202}:
                        self.accepted.append(response.headers["Penstock-Run-Id"])
                    else:
                        self.failures.append(f"{response.status}: {await response.text()}")
                    return
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.02)
            except (aiohttp.ClientError, OSError) as error:
                self.failures.append(repr(error))
                return
        self.failures.append("no replica took a connection")


@pytest.mark.timeout(60 + 180 * ROUNDS)
async def test_each_replica_in_turn_is_stopped_and_replaced(installation: Installation) -> None:
    replicas = [await installation.start(kind) for kind in KINDS for _ in range(2)]
    ingresses = replicas[:2]
    caller = Caller(ingresses)
    async with listening(installation.amqp_url) as starts, asyncio.TaskGroup() as group:
        for who in range(4):
            group.create_task(caller.call_on(who))
        for turn in range(ROUNDS * len(replicas)):
            place = turn % len(replicas)
            assert await replicas[place].stop() == 0
            replicas[place] = await installation.replace(replicas[place])
            ingresses[:] = replicas[:2]
        caller.is_stopped = True
    assert caller.failures == []
    await installation.settled()
    assert starts.begun_twice() == []
    await assert_each_ran_once(installation, caller.accepted, things_each=3)


@pytest.fixture
async def empty(servers: Servers, amqp_url: str, tmp_path: Path) -> AsyncIterator[Installation]:
    """An installation whose database nobody has migrated yet."""
    async with fresh_database(servers.database_url) as url, aiohttp.ClientSession() as http:
        database = await open_database(url, name="acceptance", most=4)
        whole = Installation(url, amqp_url, database, tmp_path, http)
        try:
            yield whole
        finally:
            await whole.close()
            await database.close()


@pytest.mark.timeout(240)
async def test_an_upgrade_and_the_way_back_lose_nothing(empty: Installation, tmp_path: Path) -> None:
    place = tmp_path / "previous"
    place.mkdir()
    previous, current = unpack_previous(place), dict[str, str]()
    await asyncio.to_thread(penstock, empty.database_url, previous, "migrate")
    await asyncio.to_thread(penstock, empty.database_url, previous, "deploy", str(APP), "--environment", "live")
    empty.settings = previous
    replicas = {kind: await empty.start(kind) for kind in KINDS}
    load = Load(empty.http, lambda: [replicas["ingress"].url], "three_things")
    posting = asyncio.create_task(load.run(names(600), within=200))
    await eventually(lambda: len(load.accepted) > 30)
    await asyncio.to_thread(penstock, empty.database_url, current, "migrate")
    for empty.settings in (current, previous):
        for kind in KINDS:
            await _replace(empty, replicas, kind)
    await posting
    await empty.settled(within=90)
    await assert_each_ran_once(empty, list(load.accepted.values()), things_each=3)


async def _replace(installation: Installation, replicas: dict[str, Service], kind: str) -> None:
    """As a rolling upgrade does: the new one is ready before the old one is stopped."""
    old, replicas[kind] = replicas[kind], await installation.start(kind)
    assert await old.stop() == 0
