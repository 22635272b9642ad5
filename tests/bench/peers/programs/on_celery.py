"""Celery over RabbitMQ with results in PostgreSQL, acknowledged late; eight worker processes."""

import time
from typing import Any

import job
import psycopg2
from celery import Celery

RESULTS = "db+" + job.DATABASE.replace("postgresql://", "postgresql+psycopg2://", 1)

app = Celery("peer", broker=job.AMQP, backend=RESULTS)
app.conf.update(
    task_acks_late=True,
    task_default_queue="peer",
    broker_transport_options={"confirm_publish": True},
    worker_prefetch_multiplier=16,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)
connections: list[Any] = []


def perform(number: int, asked: float) -> int:
    began = time.time()
    if not connections:
        connections.append(psycopg2.connect(job.DATABASE))
        connections[0].autocommit = True
    with connections[0].cursor() as cursor:
        cursor.execute(job.INSERT_BY_PSYCOPG, (number, asked, began, job.PAYLOAD))
    return number


task: Any = app.task(name="job")(perform)


def setup() -> None:
    app.backend.ResultSession()


def enqueue(count: int) -> None:
    with app.producer_pool.acquire() as producer:
        for number in range(count):
            task.apply_async((number, time.time()), producer=producer)


def paced(count: int, per_second: int) -> None:
    with app.producer_pool.acquire() as producer:
        for number in job.paced(count, per_second):
            task.apply_async((number, time.time()), producer=producer)


if __name__ == "__main__":
    job.main({"setup": setup, "enqueue": enqueue, "paced": paced})
