"""PGQueuer: PostgreSQL, asyncpg; one process."""

import asyncio
import json
import time
from typing import Any

import asyncpg
from job import CONNECTIONS, DATABASE, insert, main, open_pool, paced_async, side_by_side
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries


async def _open() -> Any:
    return Queries(AsyncpgPoolDriver(await open_pool()))


def _pack(job: int) -> bytes:
    return json.dumps([job, time.time()]).encode()


async def setup() -> None:
    await (await _open()).install()


async def enqueue(count: int) -> None:
    queries = await _open()
    await side_by_side((lambda job=job: queries.enqueue("job", _pack(job)) for job in range(count)), CONNECTIONS)


async def paced(count: int, per_second: int) -> None:
    queries = await _open()
    async for job in paced_async(count, per_second):
        await queries.enqueue("job", _pack(job))


async def work() -> None:
    pool = await asyncpg.create_pool(DATABASE, min_size=4, max_size=CONNECTIONS)
    queuer = PgQueuer(AsyncpgPoolDriver(pool))

    async def perform(job: Job) -> None:
        await insert(pool, *json.loads(job.payload))

    queuer.entrypoint("job")(perform)
    await queuer.run(batch_size=50)
    await asyncio.Event().wait()


if __name__ == "__main__":
    main({"setup": setup, "enqueue": enqueue, "paced": paced, "work": work})
