"""What the ingress promises while the broker or the database is away, and that answers find their way then."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from penstock.broker.port import Delivery
from penstock.broker.rabbitmq import connect
from penstock.contracts.envelope import Message
from penstock.contracts.messages import DueRun, ExecuteRuns, RunAnswer
from penstock.contracts.topology import executor_queue, topology
from penstock.db import open_database
from penstock.db.migrations import migrate
from penstock.domain.states import RunState
from tests.eventually import eventually
from tests.integration.ingress import SECRETS, Ingress, running_ingress, sign_stripe, write_app
from tests.private_servers import PrivatePostgres

GREET = "/api/1.1/wf/greet"
NO_BROKER = "amqp://nobody:nothing@127.0.0.1:1/"


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)


@pytest.fixture
async def alone(database_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    """An ingress whose broker is not there."""
    async with running_ingress(database_url, NO_BROKER, write_app(tmp_path)) as running:
        yield running


async def test_without_a_broker_everything_is_accepted_and_readiness_says_so(alone: Ingress) -> None:
    body, headers = sign_stripe({"id": "evt_1", "type": "invoice.paid"})
    answer = await alone.send("POST", "/webhooks/stripe", data=body, headers=headers)
    assert (answer.status, answer.json["duplicate"]) == (200, False)
    assert await alone.fetchval("SELECT count(*) FROM penstock.runs WHERE state = 'queued'") == 2
    ready = await alone.manage("GET", "/readyz")
    assert (ready.status, ready.json["checks"]) == (200, {"database": True, "broker": False})


async def test_without_a_broker_answers_still_reach_those_who_wait(alone: Ingress) -> None:
    calling = [
        asyncio.create_task(alone.send("POST", GREET, json={"name": "Ada"}, headers={"Idempotency-Key": "k"}))
        for _ in range(3)
    ]
    await alone.finish_next("greet", result={"greeting": "hello"})
    assert [(await call).json["response"] for call in calling] == [{"greeting": "hello"}] * 3


async def test_an_answer_over_the_broker_is_passed_on_at_once(database_url: str, amqp_url: str, tmp_path: Path) -> None:
    """Nothing is written to the row, so only the message can have brought the answer."""
    broker = await connect(amqp_url, topology=topology(), name="test")
    asked: asyncio.Queue[ExecuteRuns] = asyncio.Queue()
    try:
        consumer = await broker.consume(executor_queue(), lambda delivery: _take(delivery, asked), prefetch=10)
        async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as ingress:
            calling = asyncio.create_task(ingress.send("POST", GREET, json={"name": "Ada"}))
            run = await _next_run(asked)
            answer = RunAnswer(run_id=run.run_id, state=RunState.SUCCEEDED, result={"greeting": "by message"})
            assert run.reply_to is not None
            broker.publish_soon("", run.reply_to, Message(answer.encode(), type=answer.TYPE, is_persistent=False))
            broker.publish_soon("", run.reply_to, Message(b"nonsense", is_persistent=False))
            assert (await calling).json["response"] == {"greeting": "by message"}
            await ingress.send("POST", GREET, json={"name": "Ada"}, headers={"Prefer": "respond-async"})
            assert (await _next_run(asked)).reply_to is None
        await consumer.stop()
    finally:
        await broker.close()


async def _take(delivery: Delivery, asked: asyncio.Queue[ExecuteRuns]) -> None:
    asked.put_nowait(ExecuteRuns.decode(delivery.message.body))
    await delivery.ack()


async def _next_run(asked: asyncio.Queue[ExecuteRuns]) -> DueRun:
    async with asyncio.timeout(20):
        return (await asked.get()).runs[0]


async def test_while_the_database_is_away_callers_are_asked_to_come_again_and_nothing_is_half_done(
    private_postgres: PrivatePostgres, amqp_url: str, tmp_path: Path
) -> None:
    database = await open_database(private_postgres.url, name="test", most=2)
    await migrate(database)
    await database.close()
    async with running_ingress(private_postgres.url, amqp_url, write_app(tmp_path)) as ingress:
        body, headers = sign_stripe({"id": "evt_1", "type": "customer.created"})
        post = partial(ingress.send, "POST", "/webhooks/stripe", data=body, headers=headers)
        await private_postgres.kill()
        refused = await post()
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) > 0
        assert (await ingress.send("POST", GREET, json={"name": "Ada"})).status == 503
        assert (await ingress.manage("GET", "/v1/live/runs")).status == 503
        assert (await ingress.manage("GET", "/readyz")).status == 503
        await private_postgres.start()

        async def is_accepted() -> bool:
            return (await post()).status == 200

        await eventually(is_accepted, within=30)
        assert (await post()).json["duplicate"] is True
        assert (await ingress.count_deliveries(), await ingress.count_runs()) == (1, 1)
