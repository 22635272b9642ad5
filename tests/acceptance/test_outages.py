"""RabbitMQ and PostgreSQL stop, come back, and come back empty, under load: nothing is lost, and readiness tells the
truth.
"""

import asyncio
from functools import partial

from tests.acceptance.installation import Installation, Service
from tests.acceptance.ledger import assert_each_ran_once
from tests.acceptance.load import Load, names
from tests.eventually import eventually
from tests.private_servers import PrivatePostgres, PrivateRabbitMQ

Services = tuple[Service, Service, Service]


async def _checks(installation: Installation, service: Service) -> tuple[int, dict[str, bool]]:
    async with installation.http.get(f"{service.admin_url}/readyz") as response:
        return response.status, (await response.json())["checks"]


async def _is_down(installation: Installation, service: Service, what: str) -> bool:
    return not (await _checks(installation, service))[1][what]


async def _has_things(installation: Installation, count: int) -> bool:
    return await installation.count_things() >= count


async def test_rabbitmq_restarted_under_load(outage: Installation, private_rabbitmq: PrivateRabbitMQ) -> None:
    ingress, scheduler, executor = await outage.start_all()
    load = Load(outage.http, lambda: [ingress.url], "three_things")
    posting = asyncio.create_task(load.run(names(400)))
    await eventually(lambda: _has_things(outage, 60), every=0.005)
    await private_rabbitmq.stop()
    await eventually(lambda: _is_down(outage, executor, "broker"), within=30)
    status, checks = await _checks(outage, ingress)
    assert (status, checks["database"], checks["broker"]) == (200, True, False)
    await posting
    assert load.refusals == [], "ingress accepts while the broker is away"
    await private_rabbitmq.start()
    await outage.settled(within=90)
    for service in (ingress, scheduler, executor):
        await eventually(partial(outage.is_ready, service), within=30)
    await assert_each_ran_once(outage, list(load.accepted.values()), things_each=3)


async def test_rabbitmq_emptied_while_runs_wait_in_it(outage: Installation, private_rabbitmq: PrivateRabbitMQ) -> None:
    ingress = await outage.start("ingress")
    await outage.start("scheduler")
    load = Load(outage.http, lambda: [ingress.url], "three_things")
    await load.run(names(200))
    await private_rabbitmq.wipe()
    await outage.start("executor")
    await outage.settled(within=90)
    await assert_each_ran_once(outage, list(load.accepted.values()), things_each=3)


async def test_postgresql_restarted_under_load(outage: Installation, private_postgres: PrivatePostgres) -> None:
    ingress, scheduler, executor = await outage.start_all()
    load = Load(outage.http, lambda: [ingress.url], "three_things")
    posting = asyncio.create_task(load.run(names(400)))
    await eventually(lambda: _has_things(outage, 60), every=0.005)
    await private_postgres.stop()
    await eventually(lambda: _is_down(outage, ingress, "database"), within=30)
    status, checks = await _checks(outage, ingress)
    assert (status, checks["database"]) == (503, False)
    await eventually(lambda: bool(load.refusals), within=30)
    await private_postgres.start()
    await posting
    await outage.settled(within=90)
    assert {status for status, _ in load.refusals} == {503}
    assert all(retry_after for _, retry_after in load.refusals)
    for service in (ingress, scheduler, executor):
        await eventually(partial(outage.is_ready, service), within=30)
    await assert_each_ran_once(outage, list(load.accepted.values()), things_each=3)


async def test_postgresql_killed_under_load(outage: Installation, private_postgres: PrivatePostgres) -> None:
    ingress, *_ = await outage.start_all()
    load = Load(outage.http, lambda: [ingress.url], "three_things")
    posting = asyncio.create_task(load.run(names(300)))
    await eventually(lambda: _has_things(outage, 60), every=0.005)
    await private_postgres.kill()
    await private_postgres.start()
    await posting
    await outage.settled(within=90)
    await assert_each_ran_once(outage, list(load.accepted.values()), things_each=3)
