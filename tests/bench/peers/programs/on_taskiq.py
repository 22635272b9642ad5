"""taskiq over RabbitMQ with results in PostgreSQL; one worker process, acknowledged when the result is saved."""

import time
from typing import Any

from job import AMQP, CONNECTIONS, DATABASE, insert, main, open_pool, paced_async, side_by_side
from taskiq import TaskiqEvents
from taskiq_aio_pika import AioPikaBroker, Exchange, Queue, QueueType
from taskiq_pg.asyncpg import AsyncpgResultBackend

broker = AioPikaBroker(
    AMQP,
    qos=200,
    exchange=Exchange(name="peer"),
    task_queues=[Queue(name="peer", durable=True, type=QueueType.QUORUM)],
).with_result_backend(AsyncpgResultBackend(dsn=DATABASE, max_size=CONNECTIONS))
pools: list[Any] = []


async def start(_: Any) -> None:
    pools.append(await open_pool())


async def perform(job: int, asked: float) -> int:
    await insert(pools[0], job, asked)
    return job


broker.on_event(TaskiqEvents.WORKER_STARTUP)(start)
task = broker.task(task_name="job")(perform)


async def setup() -> None:
    await broker.startup()
    await broker.shutdown()


async def enqueue(count: int) -> None:
    await broker.startup()
    await side_by_side((lambda job=job: task.kiq(job, time.time()) for job in range(count)), 200)
    await broker.shutdown()


async def paced(count: int, per_second: int) -> None:
    await broker.startup()
    async for job in paced_async(count, per_second):
        await task.kiq(job, time.time())
    await broker.shutdown()


if __name__ == "__main__":
    main({"setup": setup, "enqueue": enqueue, "paced": paced})
