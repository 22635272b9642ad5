"""Schedulers in this process, on a real database and either broker, and what their tests ask of them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID, uuid4

import orjson
from pydantic import JsonValue

from penstock.broker.port import Broker, Delivery
from penstock.contracts.envelope import Message
from penstock.contracts.messages import ExecuteRuns
from penstock.contracts.topology import DEAD_LETTER_EXCHANGE, EVENTS_EXCHANGE, LANES, SCHEDULE_EXCHANGE, executor_queue
from penstock.db import Record
from penstock.runtime import Resources, Stop
from penstock_scheduler.app import serve
from penstock_scheduler.room import Room, furnish
from penstock_scheduler.settings import SchedulerSettings
from tests.eventually import eventually
from tests.site import UNUSED, Service, Site, deploy_files, serving

ENVIRONMENT = "live"
WORKFLOWS = """
workflow: notify
parameters: {name: text, urgency: {type: number, optional: true, default: 1}}
steps: [{log: "${params.name}"}]
---
workflow: tidy
steps: [{log: tidied}]
"""


@dataclass
class Inbox:
    """Keeps what it is given and acknowledges it."""

    messages: list[Message] = field(default_factory=list)
    routing_keys: list[str] = field(default_factory=list)

    async def __call__(self, delivery: Delivery) -> None:
        """A handler."""
        self.messages.append(delivery.message)
        self.routing_keys.append(delivery.routing_key)
        await delivery.ack()

    async def receive(self, count: int = 1) -> list[Message]:
        """The first `count` messages or more."""
        await eventually(lambda: len(self.messages) >= count, within=30)
        return self.messages

    def run_ids(self) -> list[UUID]:
        """The runs that were dispatched, in order."""
        return [run.run_id for message in self.messages for run in ExecuteRuns.decode(message.body).runs]


@dataclass
class Station(Site):
    """A database with an app deployed, a broker, and any number of schedulers."""

    broker: Broker
    executor: Inbox = field(default_factory=Inbox)
    dead: Inbox = field(default_factory=Inbox)
    replies: Inbox = field(default_factory=Inbox)
    events: Inbox = field(default_factory=Inbox)
    reply_to: str = ""

    async def open(self, *, consumes_executions: bool = True) -> None:
        """Deploy the app and listen to everything."""
        await self.deploy(WORKFLOWS)
        if consumes_executions:
            for lane in LANES:
                await self.broker.consume(executor_queue(lane), self.executor, prefetch=100)
        await self.broker.subscribe(DEAD_LETTER_EXCHANGE, "#", self.dead)
        await self.broker.subscribe(EVENTS_EXCHANGE, "#", self.events)
        self.reply_to = await self.broker.open_reply_queue(self.replies)

    async def deploy(self, workflows: str, *, head: str = "", environment: str = ENVIRONMENT) -> None:
        """Make an app of these workflows the current one."""
        files = {"app.yaml": f"app: station\n{head}", "workflows/all.yaml": workflows}
        await deploy_files(self.database, files, environment)

    async def publish(self, **given: object) -> str:
        """Publish a schedule message as a plain client would, and return its correlation id.

        Its own are `headers`, `message_id`, `message_type`, `asks` (for an answer), `body` and `raw` (the bytes of it);
        all else changes fields of a body that is good for `notify`.
        """
        headers, message_id = given.pop("headers", {}), given.pop("message_id", uuid4().hex)
        message_type, asks = given.pop("message_type", ""), given.pop("asks", True)
        body, raw = given.pop("body", None), given.pop("raw", None)
        content = (
            {"workflow": "notify", "environment": ENVIRONMENT, "parameters": {"name": "afar"}, **given}
            if body is None
            else body
        )
        correlation_id = uuid4().hex
        message = Message(
            raw if isinstance(raw, bytes) else orjson.dumps(content),
            type=str(message_type),
            message_id=str(message_id),
            correlation_id=correlation_id,
            reply_to=self.reply_to if asks else None,
            headers=cast("Mapping[str, object]", headers),
        )
        await self.broker.publish(SCHEDULE_EXCHANGE, f"{ENVIRONMENT}.notify", message)
        return correlation_id

    async def ask(self, **given: object) -> dict[str, JsonValue]:
        """Publish, and the answer."""
        message = await self.answer_to(await self.publish(**given))
        answer: dict[str, JsonValue] = orjson.loads(message.body)
        return answer

    async def answer_to(self, correlation_id: str) -> Message:
        """The answer to what was published with that correlation id."""

        def find() -> list[Message]:
            return [message for message in self.replies.messages if message.correlation_id == correlation_id]

        return (await eventually(find, within=30))[0]

    async def runs(self) -> list[Record]:
        """All runs, in order of their ids."""
        return await self.fetch("SELECT * FROM penstock.runs ORDER BY id")

    def furnish(self, **settings: object) -> Room:
        """What a scheduler works with, for tests that take a loop's turns themselves."""
        return furnish(build_settings(**settings), Resources(self.database, self.broker), Stop())

    @asynccontextmanager
    async def scheduler(self, **settings: object) -> AsyncIterator[Service]:
        """A scheduler that works while the block runs, and drains at its end."""
        async with serving(serve, build_settings(**settings), Resources(self.database, self.broker)) as scheduler:
            yield scheduler


def build_settings(**given: object) -> SchedulerSettings:
    """The settings of a scheduler that is handed its resources."""
    return SchedulerSettings.model_validate({**UNUSED, **given})
