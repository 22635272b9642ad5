"""An internal service that knows nothing of our library: a plain AMQP client that publishes the one documented
message.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast
from uuid import uuid4

import aio_pika

from tests.acceptance.installation import Installation, Service
from tests.eventually import eventually

Services = tuple[Service, Service, Service]


class InternalService:
    """Publishes to `penstock.schedule` and reads its answers and the dead letters, as any client would."""

    def __init__(self, channel: aio_pika.abc.AbstractChannel, replies: aio_pika.abc.AbstractQueue) -> None:
        self._channel = channel
        self._replies = replies

    async def publish(
        self, body: object, *, message_id: str | None = None, raw: bytes | None = None, **headers: object
    ) -> None:
        exchange = await self._channel.get_exchange("penstock.schedule", ensure=False)
        message = aio_pika.Message(
            json.dumps(body).encode() if raw is None else raw,
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=message_id or uuid4().hex,
            reply_to=self._replies.name,
            correlation_id="the question",
            headers=cast(
                "aio_pika.abc.HeadersType", {name.replace("_", "-"): value for name, value in headers.items()}
            ),
        )
        await exchange.publish(message, routing_key="live.one_thing")

    async def answer(self) -> dict[str, object]:
        answers: list[dict[str, object]] = []

        async def read() -> bool:
            message = await self._replies.get(fail=False, no_ack=True)
            if message is not None:
                assert message.correlation_id == "the question"
                answers.append(json.loads(message.body))
            return message is not None

        await eventually(read)
        return answers[0]


@asynccontextmanager
async def internal_service(amqp_url: str) -> AsyncIterator[InternalService]:
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        yield InternalService(channel, await channel.declare_queue(exclusive=True))


def _message(**over: object) -> dict[str, object]:
    return {"workflow": "one_thing", "environment": "live", "parameters": {"name": "from afar"}} | over


async def test_depth_headers_0_and_10_run_and_11_is_terminated(installation: Installation, services: Services) -> None:
    async with internal_service(installation.amqp_url) as service:
        states = {}
        for depth in (0, 10, 11):
            await service.publish(_message(), depth=depth)
            states[depth] = await service.answer()
    assert [states[depth]["state"] for depth in (0, 10)] == ["queued", "queued"]
    assert states[11]["state"] == "terminated"
    await installation.settled()
    assert await installation.count_things() == 2
    assert await installation.fetchval("SELECT array_agg(state ORDER BY depth) FROM penstock.runs") == [
        "succeeded",
        "succeeded",
        "terminated",
    ]


async def test_same_message_id_makes_one_run(installation: Installation, services: Services) -> None:
    async with internal_service(installation.amqp_url) as service:
        await service.publish(_message(), message_id="order-42")
        first = await service.answer()
        await service.publish(_message(), message_id="order-42")
        second = await service.answer()
    assert (first["duplicate"], second["duplicate"]) == (False, True)
    assert first["run_id"] == second["run_id"]
    await installation.settled()
    assert await installation.count_things() == 1


async def _read_reasons(installation: Installation, count: int) -> list[str]:
    """The reasons of all dead letters of messages, when there are that many."""
    async with installation.database.connection() as conn:
        rows = await conn.fetch("SELECT reason FROM penstock.dead_letters WHERE kind = 'message'")
    return [row["reason"] for row in rows] if len(rows) >= count else []


async def test_malformed_messages_are_dead_lettered_with_a_reason(
    installation: Installation, services: Services
) -> None:
    async with internal_service(installation.amqp_url) as service:
        await service.publish(None, raw=b"{not json")
        await service.publish(_message(workflow="one_thin"))
        await service.publish(_message(parameters={}))
        await service.publish(_message(), depth="3")
        await service.publish(_message(), parent_run_id="nonsense")
    reasons = await eventually(lambda: _read_reasons(installation, 5), within=30)
    texts = "\n".join(sorted(reasons))
    for part in ("JSON", "one_thin", "name", "depth", "parent-run-id"):
        assert part in texts, texts
    await asyncio.wait_for(installation.settled(), 30)
    assert await installation.count_things() == 0


async def test_child_of_a_stored_run_is_placed_by_its_parent_whatever_the_header_says(
    installation: Installation, services: Services
) -> None:
    async with internal_service(installation.amqp_url) as service:
        await service.publish(_message(), depth=4)
        parent = await service.answer()
        await service.publish(_message(), depth=0, parent_run_id=parent["run_id"])
        child = await service.answer()
    depth = await installation.fetchval("SELECT depth FROM penstock.runs WHERE id = $1::text::uuid", child["run_id"])
    assert depth == 5
