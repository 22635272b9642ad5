"""Procrastinate: PostgreSQL, psycopg 3, LISTEN/NOTIFY; one process."""

import time
from typing import Any

import procrastinate
from job import CONNECTIONS, DATABASE, insert, main, open_pool, paced_async, side_by_side

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=DATABASE, min_size=4, max_size=CONNECTIONS))
pools: list[Any] = []


async def perform(job: int, asked: float) -> None:
    await insert(pools[0], job, asked)


task = app.task(name="job", queue="q")(perform)


async def setup() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def enqueue(count: int) -> None:
    async with app.open_async():
        calls = (lambda job=job: task.defer_async(job=job, asked=time.time()) for job in range(count))
        await side_by_side(calls, CONNECTIONS)


async def paced(count: int, per_second: int) -> None:
    async with app.open_async():
        async for job in paced_async(count, per_second):
            await task.defer_async(job=job, asked=time.time())


async def work() -> None:
    pools.append(await open_pool())
    async with app.open_async():
        await app.run_worker_async(concurrency=20)


if __name__ == "__main__":
    main({"setup": setup, "enqueue": enqueue, "paced": paced, "work": work})
