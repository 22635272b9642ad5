"""A service is killed in mid-work, without warning: nothing is lost, nothing is done twice."""

import asyncio

from tests.acceptance.installation import Installation, Service
from tests.acceptance.ledger import assert_each_ran_once, listening
from tests.acceptance.load import Load, names
from tests.eventually import eventually

Services = tuple[Service, Service, Service]


async def test_executor_killed_in_the_middle_of_200_runs(installation: Installation, services: Services) -> None:
    ingress, _, executor = services
    load = Load(installation.http, lambda: [ingress.url], "three_things")
    async with listening(installation.amqp_url) as starts:
        posting = asyncio.create_task(load.run(names(200)))
        await eventually(lambda: _has_things(installation, 30), every=0.002)
        await executor.kill()
        await posting
        assert not await installation.is_quiet()
        await installation.start("executor")
        await installation.settled()
        assert starts.begun_twice() == []
    await assert_each_ran_once(installation, list(load.accepted.values()), things_each=3)


async def test_scheduler_killed_while_it_expands_10000_items(installation: Installation, services: Services) -> None:
    ingress, scheduler, _ = services
    body = {"workflow": "start_list", "parameters": {"items": list(range(10_000))}}
    status, run = await installation.manage(ingress, "POST", "live/runs", body)
    assert status == 201, run
    await eventually(lambda: _has_runs(installation, 1000), every=0.002, within=30)
    await scheduler.kill()
    assert not await installation.is_quiet()
    await installation.start("scheduler")
    await installation.settled(within=100)
    assert await installation.count_things() == 10_000
    assert await installation.fetchval("SELECT count(DISTINCT position) FROM live.thing") == 10_000
    assert await installation.fetchval(
        "SELECT array_agg(DISTINCT depth) FROM penstock.runs WHERE workflow = 'item'"
    ) == [1]


async def test_ingress_killed_while_it_accepts(installation: Installation, services: Services) -> None:
    first = services[0]
    second = await installation.start("ingress")
    load = Load(installation.http, lambda: [first.url, second.url], "three_things")
    posting = asyncio.create_task(load.run(names(300)))
    await eventually(lambda: _has_runs(installation, 50), every=0.002)
    await first.kill()
    await posting
    await installation.settled()
    await assert_each_ran_once(installation, list(load.accepted.values()), things_each=3)


async def test_services_told_to_stop_finish_what_they_have_begun(
    installation: Installation, services: Services
) -> None:
    ingress, scheduler, executor = services
    load = Load(installation.http, lambda: [ingress.url], "three_things")
    await load.run(names(100))
    assert await executor.stop() == 0
    leased = await installation.fetchval("SELECT count(*) FROM penstock.runs WHERE state = 'running'")
    assert leased == 0
    await installation.start("executor")
    await installation.settled()
    assert (await ingress.stop(), await scheduler.stop()) == (0, 0)
    assert await installation.fetchval("SELECT max(attempt) FROM penstock.runs") == 1
    await assert_each_ran_once(installation, list(load.accepted.values()), things_each=3)


async def _has_things(installation: Installation, count: int) -> bool:
    return await installation.count_things() >= count


async def _has_runs(installation: Installation, count: int) -> bool:
    runs = await installation.fetchval("SELECT count(*) FROM penstock.runs")
    return isinstance(runs, int) and runs >= count
