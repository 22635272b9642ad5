"""DBOS: PostgreSQL; a workflow of one step on a queue, one process."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dbos import DBOS, DBOSClient, DBOSConfig
from job import CONNECTIONS, DATABASE, insert, main, open_pool
from job import paced as at_pace

VERSION = "v1"
POLL_SECONDS = 1.0  # DBOS's own default
pools: list[Any] = []


async def perform(job: int, asked: float) -> None:
    await insert(pools[0], job, asked)


step: Any = DBOS.step()(perform)


async def run(job: int, asked: float) -> int:
    await step(job, asked)
    return job


workflow: Any = DBOS.workflow(name="job")(run)


def _launch() -> None:
    DBOS(
        config=DBOSConfig(
            name="peer", system_database_url=DATABASE, application_version=VERSION, log_level="WARNING",
            sys_db_pool_size=CONNECTIONS, run_admin_server=False, executor_id="one",
        )
    )  # fmt: skip
    DBOS.launch()


def _ask(client: Any, job: int) -> None:
    client.enqueue({"workflow_name": "job", "queue_name": "q", "app_version": VERSION}, job, time.time())


def setup() -> None:
    _launch()
    DBOS.register_queue("q", polling_interval_sec=POLL_SECONDS)
    DBOS.destroy()


def enqueue(count: int) -> None:
    client = DBOSClient(system_database_url=DATABASE, system_database_pool_size=8)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda job: _ask(client, job), range(count)))


def paced(count: int, per_second: int) -> None:
    client = DBOSClient(system_database_url=DATABASE, system_database_pool_size=8)
    client.check_connection()
    for job in at_pace(count, per_second):
        _ask(client, job)


async def work() -> None:
    pools.append(await open_pool())
    _launch()
    await DBOS.register_queue_async("q", polling_interval_sec=POLL_SECONDS)
    await asyncio.Event().wait()


if __name__ == "__main__":
    main({"setup": setup, "enqueue": enqueue, "paced": paced, "work": work})
