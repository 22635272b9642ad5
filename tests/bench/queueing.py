"""Runs of one `create` step for a measurement: admitted, and handed to the broker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial

from penstock.broker.publisher import Publisher
from penstock.broker.rabbitmq import connect
from penstock.contracts.topology import topology
from penstock.db import Database
from penstock.domain.ids import new_run_id
from penstock.domain.runs import Admitted, RunSummary
from penstock.domain.states import RunState, Trigger
from penstock.runs.admission import admit
from penstock.runs.requests import CheckedRun, RunRequest


async def queue_runs(database: Database, amqp_url: str, runs: int) -> None:
    """Admit runs of one `create` step, and hand them to the broker."""
    admitted = await admit_runs(database, runs)
    async with publishing(amqp_url) as publisher:
        await publisher.dispatch(admitted)


async def admit_runs(database: Database, runs: int) -> list[RunSummary]:
    """Admit runs of one `create` step, and return those that are to be handed to the broker."""
    admitted = list[RunSummary]()
    async with database.connection() as conn:
        version = await conn.fetchval("SELECT deployment_version FROM penstock.environments WHERE name = 'live'")
    for first in range(0, runs, 500):
        batch = [make_request(number, version=version) for number in range(first, min(first + 500, runs))]
        outcomes = await database.in_transaction(partial(admit, runs=batch))
        admitted += [o.run for o in outcomes if isinstance(o, Admitted) and o.run.state is RunState.QUEUED]
    return admitted


@asynccontextmanager
async def publishing(amqp_url: str) -> AsyncIterator[Publisher]:
    """What hands runs to the broker."""
    broker = await connect(amqp_url, topology=topology(), name="bench")
    try:
        yield Publisher(broker)
    finally:
        await broker.close()


def make_request(number: int, scheduled_at: datetime | None = None, *, version: int = 1) -> CheckedRun:
    request = RunRequest(
        run_id=new_run_id(),
        environment="live",
        workflow="insert",
        parameters={"job": number, "payload": "x" * 256},
        trigger=Trigger.API,
        scheduled_at=scheduled_at,
    )
    return CheckedRun(request, version=version)
