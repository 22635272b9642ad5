"""The client while the service that it talks to dies: real processes, killed without warning."""

import asyncio

import pytest

from penstock import Client
from tests.acceptance.installation import ADMIN_TOKEN, Installation
from tests.eventually import eventually


@pytest.mark.parametrize("is_managing", [False, True], ids=["public port", "admin port"])
async def test_retries_with_one_key_across_a_restart_of_the_ingress_make_one_run(
    installation: Installation, is_managing: bool
) -> None:
    ingress = await installation.start("ingress")
    async with Client(ingress.admin_url if is_managing else ingress.url, ADMIN_TOKEN) as client:
        calling = asyncio.create_task(client.run("one_thing", {"name": "once"}))
        await eventually(lambda: has_runs(installation))
        await ingress.kill()
        await installation.replace(ingress)
        await asyncio.gather(installation.start("executor"), installation.start("scheduler"))
        answer = await calling
    things = await installation.fetchval('SELECT array_agg("_id") FROM live.thing')
    assert isinstance(answer, dict)
    assert things == [answer["id"]]
    assert await installation.fetchval("SELECT count(*) FROM penstock.runs") == 1


async def has_runs(installation: Installation) -> bool:
    return await installation.fetchval("SELECT count(*) FROM penstock.runs") == 1
