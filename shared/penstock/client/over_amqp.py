"""The way over AMQP: schedule messages, and the three that look at a run, cancel one and send a signal.

A request is published again, with the same message id, until it is answered: the broker or the scheduler may be away,
and the queue for answers is lost with the connection. The end of a run arrives as a RunAnswer, because the schedule
message asks for it. That is sent at best effort, so the run is also looked at now and then.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final
from uuid import UUID, uuid4

from pydantic import JsonValue

from penstock import exact_json
from penstock.broker.port import Broker, Delivery
from penstock.broker.rabbitmq import connect
from penstock.client.calls import MAX_SHOWN
from penstock.client.errors import ClientError, NotEnded, Refused, Unavailable
from penstock.client.port import Port, Wanted, WantedEnd, WantedSignal
from penstock.client.reading import read_answer
from penstock.client.retries import Deadline, pause_before_retry
from penstock.client.values import Ended, RunStatus, ScheduledRun, SignalOutcome
from penstock.client.waiting import look_at, wait_for_end
from penstock.contracts import envelope
from penstock.contracts.envelope import Message
from penstock.contracts.messages import CancelRun, CancelRuns, RunAnswer, SendSignal, ShowRun
from penstock.contracts.topology import SCHEDULE_EXCHANGE, Topology, schedule_routing_key
from penstock.domain.durations import format_duration
from penstock.errors import BrokerUnavailable
from penstock.logs import log_as_a_library

TRY_SECONDS: Final = 8.0
"""How long an answer is waited for before the request is published again."""
_FIRST_LOOK_SECONDS: Final = 1.0
_MAX_LOOK_SECONDS: Final = 10.0
_MAX_EARLY_ANSWERS: Final = 1000
"""Answers kept that came before it was known whose they are: a run can end before its id has arrived."""
_PROBLEM: Final = "application/problem+json"
_NO_WORKFLOW: Final = "-"
"""Stands in the routing key of what is not about a workflow."""


class AmqpWay:
    """See the way. The client declares nothing but its own queue for answers."""

    def __init__(self, url: str, environment: str) -> None:
        self._url = url
        self._environment = environment
        self._broker: Broker | None = None
        self._port: AmqpPort | None = None
        self._opening = asyncio.Lock()

    async def open(self, _deadline: Deadline) -> Port:
        """See the way."""
        async with self._opening:
            if self._port is None:
                log_as_a_library()
                self._broker = await connect(self._url, topology=Topology((), (), ()), name="penstock client")
                self._port = await open_port(self._broker, self._environment)
            return self._port

    async def close(self) -> None:
        """See the way."""
        if self._broker is not None:
            await self._broker.close()
            self._broker = self._port = None


async def open_port(broker: Broker, environment: str) -> "AmqpPort":
    """A port that speaks through `broker`."""
    port = AmqpPort(broker, environment)
    port.reply_to = await broker.open_reply_queue(port.receive)
    return port


class AmqpPort:
    """See the port. Made by `open_port`."""

    reply_to: str

    def __init__(self, broker: Broker, environment: str) -> None:
        self._broker = broker
        self._environment = environment
        self._asked: dict[str, asyncio.Future[Message]] = {}
        self._ends: OrderedDict[UUID, asyncio.Future[Message]] = OrderedDict()

    async def receive(self, delivery: Delivery) -> None:
        """Hand an answer to who waits for it; what nobody waits for is dropped."""
        message = delivery.message
        is_end = message.type == RunAnswer.TYPE
        waiting = (
            self._end_of(RunAnswer.decode(message.body).run_id)
            if is_end
            else self._asked.get(message.correlation_id or "")
        )
        if waiting is not None and not waiting.done():
            waiting.set_result(message)
        await delivery.ack()

    async def run(self, wanted: Wanted, deadline: Deadline) -> JsonValue:
        """See the port."""
        started = await self._schedule(wanted, deadline, {envelope.ANSWER: envelope.ANSWER_RESULT})
        if started.duplicate:  # the answer goes to who has made the run
            return (await wait_for_end(self.status, started.run_id, wanted.key, deadline)).answer()
        try:
            return (await self._wait_for_answer(started.run_id, wanted, deadline)).answer()
        finally:
            self._ends.pop(started.run_id, None)

    async def schedule(self, wanted: Wanted, deadline: Deadline) -> ScheduledRun:
        """See the port."""
        return await self._schedule(wanted, deadline, {})

    async def status(self, run_id: UUID, deadline: Deadline) -> RunStatus:
        """See the port."""
        return read_answer(RunStatus, await self._ask(ShowRun.TYPE, {"run_id": str(run_id)}, deadline))

    async def cancel(self, run_id: UUID, deadline: Deadline) -> bool:
        """See the port."""
        return (await self._ask(CancelRun.TYPE, {"run_id": str(run_id)}, deadline)).get("cancelled") is True

    async def cancel_key(self, wanted: WantedEnd, deadline: Deadline) -> int:
        """See the port."""
        return read_answer(Ended, await self._ask(CancelRuns.TYPE, wanted._asdict(), deadline)).done

    async def signal(self, wanted: WantedSignal, deadline: Deadline) -> SignalOutcome:
        """See the port."""
        body = {"name": wanted.name} if wanted.payload is None else {"name": wanted.name, "payload": wanted.payload}
        return read_answer(SignalOutcome, await self._ask(SendSignal.TYPE, body, deadline, wanted.key))

    async def _schedule(self, wanted: Wanted, deadline: Deadline, headers: Mapping[str, object]) -> ScheduledRun:
        body: dict[str, object] = {"workflow": wanted.workflow, "parameters": dict(wanted.parameters)}
        if wanted.at is not None:
            body["at"] = wanted.at.isoformat()
        if wanted.after is not None:
            body["after"] = format_duration(wanted.after)
        message = self._build("", body, wanted.key)._replace(headers=headers)
        return read_answer(ScheduledRun, await self._request(message, wanted.workflow, deadline))

    async def _ask(
        self, message_type: str, body: Mapping[str, object], deadline: Deadline, key: str | None = None
    ) -> dict[str, JsonValue]:
        return await self._request(self._build(message_type, body, key or uuid4().hex), _NO_WORKFLOW, deadline)

    def _build(self, message_type: str, body: Mapping[str, object], key: str) -> Message:
        content = exact_json.dumps({"environment": self._environment, **body})
        return Message(content, type=message_type, message_id=key, correlation_id=uuid4().hex, reply_to=self.reply_to)

    async def _request(self, message: Message, workflow: str, deadline: Deadline) -> dict[str, JsonValue]:
        """The answer to a message. Raises Refused, and Unavailable at the deadline."""
        assert message.correlation_id is not None
        waiting = self._asked[message.correlation_id] = asyncio.get_running_loop().create_future()
        try:
            return _read(await self._send_until_answered(message, workflow, waiting, deadline))
        finally:
            del self._asked[message.correlation_id]

    async def _send_until_answered(
        self, message: Message, workflow: str, waiting: asyncio.Future[Message], deadline: Deadline
    ) -> Message:
        routing_key, tries = schedule_routing_key(self._environment, workflow), 0
        while True:
            tries += 1
            try:
                await self._broker.publish(SCHEDULE_EXCHANGE, routing_key, message)
                reason, pause = "the schedulers have not answered", TRY_SECONDS
            except BrokerUnavailable as error:
                reason, pause = str(error), pause_before_retry(tries, None, random.random())
            await asyncio.wait({waiting}, timeout=min(pause, deadline.remaining))
            if waiting.done():
                return waiting.result()
            if deadline.remaining <= 0:
                raise Unavailable(f"RabbitMQ, tried {tries} times: {reason}", key=message.message_id)

    async def _wait_for_answer(self, run_id: UUID, wanted: Wanted, deadline: Deadline) -> RunStatus:
        """The run when it has ended: as the executor reports it, or as it is found."""
        answered, pause = self._end_of(run_id), _FIRST_LOOK_SECONDS
        while True:
            done, _ = await asyncio.wait({answered}, timeout=min(pause, deadline.remaining))
            if done:
                ended = _read_end(answered.result(), wanted.workflow)
                # An early answer says that the run has returned, and continues.
                return ended if ended.has_ended else await wait_for_end(self.status, run_id, wanted.key, deadline)
            if deadline.remaining <= 0:
                raise NotEnded(run_id, key=wanted.key)
            found = await look_at(self.status, run_id, wanted.key, deadline)
            if found.has_ended:
                return found
            pause = min(2 * pause, _MAX_LOOK_SECONDS)

    def _end_of(self, run_id: UUID) -> asyncio.Future[Message]:
        if run_id not in self._ends:
            self._ends[run_id] = asyncio.get_running_loop().create_future()
            if len(self._ends) > _MAX_EARLY_ANSWERS:
                self._forget_an_answer()
        return self._ends[run_id]

    def _forget_an_answer(self) -> None:
        """Drop the oldest answer that nobody has taken."""
        taken = next((run_id for run_id, answer in self._ends.items() if answer.done()), None)
        if taken is not None:
            del self._ends[taken]


def _read_end(message: Message, workflow: str) -> RunStatus:
    return read_answer(RunStatus, {"workflow": workflow, **_object(message.body)})


def _read(message: Message) -> dict[str, JsonValue]:
    """The answer. Raises Refused for a problem document."""
    document = _object(message.body)
    if message.content_type == _PROBLEM:
        status = document.get("status")
        raise Refused(status if isinstance(status, int) else 400, str(document.get("detail", ""))[:MAX_SHOWN])
    return document


def _object(body: bytes) -> dict[str, JsonValue]:
    document = exact_json.loads(body)
    if not isinstance(document, dict):
        raise ClientError(f"this is not an answer of Penstock: {body[:MAX_SHOWN].decode(errors='replace')}")
    return document
