"""awa-pg: PostgreSQL, a core in Rust, a handler in Python; one process."""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

import awa
from job import CONNECTIONS, DATABASE, insert, main, open_pool, paced_async, side_by_side


@dataclass
class Row:
    """The arguments of the job."""

    job: int
    asked: float


async def setup() -> None:
    client = awa.AsyncClient(DATABASE, 4)
    await client.migrate()

    async def nothing(_: Any) -> None: ...

    client.task(Row, queue="q")(nothing)
    await client.start([("q", 1)])  # a first worker on an empty database makes queue storage active
    for _ in range(100):
        if json.loads(await client.storage_status())["state"] == "active":
            break
        await asyncio.sleep(0.1)
    await client.shutdown()
    await client.close()


async def enqueue(count: int) -> None:
    client = awa.AsyncClient(DATABASE, CONNECTIONS)
    await side_by_side((lambda job=job: client.insert(Row(job, time.time()), queue="q") for job in range(count)), 16)


async def paced(count: int, per_second: int) -> None:
    client = awa.AsyncClient(DATABASE, CONNECTIONS)
    async for job in paced_async(count, per_second):
        await client.insert(Row(job, time.time()), queue="q")


async def work() -> None:
    pool = await open_pool()
    client = awa.AsyncClient(DATABASE, CONNECTIONS)

    async def perform(job: Any) -> None:
        await insert(pool, job.args.job, job.args.asked)

    client.task(Row, queue="q")(perform)
    await client.start([{"name": "q", "max_workers": 50}])
    await asyncio.Event().wait()


if __name__ == "__main__":
    main({"setup": setup, "enqueue": enqueue, "paced": paced, "work": work})
