"""Dramatiq over RabbitMQ, without results; one process of eight threads."""

import threading
import time
from typing import Any

import dramatiq
import job
import psycopg2
from dramatiq.brokers.rabbitmq import RabbitmqBroker

dramatiq.set_broker(RabbitmqBroker(url=job.AMQP, confirm_delivery=True))
_own = threading.local()


def perform(number: int, asked: float) -> None:
    began = time.time()
    if not hasattr(_own, "connection"):
        _own.connection = psycopg2.connect(job.DATABASE)
        _own.connection.autocommit = True
    with _own.connection.cursor() as cursor:
        cursor.execute(job.INSERT_BY_PSYCOPG, (number, asked, began, job.PAYLOAD))


actor: Any = dramatiq.actor(queue_name="peer", max_retries=3)(perform)


def setup() -> None:
    """Nothing: queues are declared by their first use."""


def enqueue(count: int) -> None:
    for number in range(count):
        actor.send(number, time.time())


def paced(count: int, per_second: int) -> None:
    for number in job.paced(count, per_second):
        actor.send(number, time.time())


if __name__ == "__main__":
    job.main({"setup": setup, "enqueue": enqueue, "paced": paced})
