"""The database is lost: a restored backup and a promoted standby have everything that they should, and it runs once."""

import asyncio
import logging
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from penstock import clock
from penstock.db import open_database
from tests.acceptance.installation import Installation
from tests.acceptance.ledger import assert_each_ran_once
from tests.acceptance.load import Load, names
from tests.acceptance.postgres_tools import back_up, execute, restore, standby_of
from tests.eventually import eventually
from tests.private_servers import PrivatePostgres, PrivateRabbitMQ
from tests.servers import running_postgres

log = logging.getLogger(__name__)


async def test_all_that_waited_in_a_backup_runs_once_after_it_is_restored(
    outage: Installation, private_rabbitmq: PrivateRabbitMQ, tmp_path: Path
) -> None:
    ingress, _, executor = await outage.start_all()
    load = Load(outage.http, lambda: [ingress.url], "three_things")
    await load.run(names(50))
    await outage.settled()
    assert await executor.stop() == 0
    await load.run(names(150))  # 100 of them wait in the broker
    later = {"workflow": "three_things", "parameters": {"name": "later"}, "after": "2s"}
    status, scheduled = await outage.manage(ingress, "POST", "live/runs", later)
    assert (status, isinstance(scheduled, dict)) == (201, True), scheduled
    await back_up(outage.database_url, tmp_path)
    for service in outage.services:
        await service.kill()
    await private_rabbitmq.wipe()
    async with running_postgres() as empty:
        await restore(empty.url, tmp_path)
        database = await open_database(empty.url, name="acceptance", most=4)
        restored = Installation(empty.url, outage.amqp_url, database, tmp_path, outage.http)
        try:
            await restored.start_all()
            await restored.settled(within=90)
            assert isinstance(scheduled, dict)
            await assert_each_ran_once(restored, [*load.accepted.values(), str(scheduled["id"])], things_each=3)
            assert await restored.fetchval("SELECT max(attempt) FROM penstock.runs") == 1
        finally:
            await restored.close()
            await database.close()


async def test_a_promoted_standby_has_all_that_was_accepted(
    private_postgres: PrivatePostgres, private_rabbitmq: PrivateRabbitMQ, tmp_path: Path
) -> None:
    async with standby_of(private_postgres) as standby, aiohttp.ClientSession() as http:
        places = ",".join(urlsplit(server.url).netloc.rpartition("@")[2] for server in (private_postgres, standby))
        url = f"postgresql://app@{places}/postgres?target_session_attrs=read-write"
        database = await open_database(url, name="acceptance", most=4)
        installation = Installation(url, private_rabbitmq.url, database, tmp_path, http)
        try:
            await installation.prepare()
            ingress, *_ = await installation.start_all()
            load = Load(http, lambda: [ingress.url], "three_things")
            posting = asyncio.create_task(load.run(names(400)))
            await eventually(lambda: len(load.accepted) > 60, every=0.005)
            await private_postgres.kill()
            before = len(load.accepted)
            await eventually(lambda: bool(load.refusals), within=30)
            await execute(standby.url, "SELECT pg_promote()")
            promoted_at = clock.now()
            seconds = await eventually(partial(find_first_begun, installation, promoted_at), within=60)
            log.info("the first new run began %.2f s after the promotion", seconds)
            await eventually(lambda: len(load.accepted) > before + 20, within=60)
            await posting
            await installation.settled(within=90)
            await assert_each_ran_once(installation, list(load.accepted.values()), things_each=3)
        finally:
            await installation.close()
            await database.close()


async def find_first_begun(installation: Installation, since: datetime) -> float:
    """Seconds from then until the first run began that was accepted later."""
    seconds = await installation.fetchval(
        """
        SELECT extract(epoch FROM min(r.started_at) - $1::timestamptz)::float8 FROM penstock.runs r
        WHERE r.created_at >= $1::timestamptz
        """,
        since,
    )
    assert isinstance(seconds, float)
    return seconds
