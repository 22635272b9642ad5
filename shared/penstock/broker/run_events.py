"""Events of runs, many in one message, and none where nobody listens.

Two or three events leave with every run, so under load they would cost as much as a tenth of its work. Each routing key
has a turn of its own: what happens during a turn leaves together in the next one. While nothing is bound for a key,
only the first event of a turn is published. When the broker returns it, there was no queue for any of them, because
they all happened before.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import orjson

from penstock import exact_json
from penstock.broker.port import Broker
from penstock.contracts import envelope, topology
from penstock.contracts.envelope import Message, new_message_id
from penstock.contracts.messages import RunEvent, RunEvents
from penstock.domain.cycles import find_cycle
from penstock.domain.states import RunState
from penstock.errors import BrokerUnavailable
from penstock.logs import get_logger
from penstock.metrics import EVENTS_DROPPED

log = get_logger(__name__)

MAX_EVENTS: Final = 250
"""In one message."""
MIN_EVENTS: Final = 10
"""Fewer leave in a message each, which is simpler to consume."""
MAX_WAITING: Final = 50_000
"""Events that wait, of all keys; what comes on top is dropped."""
_PAUSE_SECONDS: Final = 0.05
"""Between the turns of a key that has many events."""
_TRIAL_SECONDS: Final = 0.2
"""Between two trials of a key that has no queue; the first event for a new listener may come that much later."""


class Happening(NamedTuple):
    """What happened to a run, which is in `state` since, and when. Flat, since each run makes two."""

    id: UUID
    chain_id: UUID
    parent_run_id: UUID | None
    environment: str
    workflow: str
    state: RunState
    depth: int
    attempt: int
    at: datetime
    reason: str | None = None
    path: Sequence[str] | None = None


class RunEventStream:
    """The events of one process. `drain` waits until none is left."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._waiting: dict[str, list[Happening]] = {}
        self._count = 0
        self._bound: set[str] = set()
        self._turns: set[asyncio.Task[None]] = set()
        self._is_draining = asyncio.Event()
        self._dropped = 0

    def add(self, routing_key: str, happenings: Sequence[Happening]) -> None:
        """Have them published soon. Dropped when too many wait, or when the broker is away at their turn."""
        room = MAX_WAITING - self._count
        if len(happenings) > room:
            self._drop(len(happenings) - room)
            happenings = happenings[:room]
        if not happenings:
            return
        self._count += len(happenings)
        waiting = self._waiting.get(routing_key)
        if waiting is not None:
            waiting += happenings
            return
        self._waiting[routing_key] = list(happenings)
        task = asyncio.get_running_loop().create_task(self._take_turns(routing_key))
        self._turns.add(task)
        task.add_done_callback(self._turns.discard)

    async def drain(self) -> None:
        """Publish what waits without pauses."""
        self._is_draining.set()
        while self._turns:
            await asyncio.wait(self._turns)

    async def _take_turns(self, routing_key: str) -> None:
        try:
            while batch := self._waiting[routing_key]:
                self._waiting[routing_key] = []
                self._count -= len(batch)
                await self._publish(routing_key, batch)
                if routing_key not in self._bound:
                    await self._pause(_TRIAL_SECONDS)
                elif len(batch) >= MIN_EVENTS:
                    await self._pause(_PAUSE_SECONDS)
        finally:
            self._count -= len(self._waiting.pop(routing_key))

    async def _publish(self, routing_key: str, batch: list[Happening]) -> None:
        messages = pack(batch) if routing_key in self._bound else pack(batch[:1])
        try:
            if not await self._announce(routing_key, messages):
                self._bound.discard(routing_key)
            elif routing_key not in self._bound:
                self._bound.add(routing_key)
                await self._announce(routing_key, pack(batch[1:]))
        except BrokerUnavailable:
            self._drop(len(batch))
        if self._dropped:
            log.warning("broker.events_dropped", count=self._dropped)
            self._dropped = 0

    async def _announce(self, routing_key: str, messages: Sequence[Message]) -> bool:
        """Publish these in order; whether a queue took the last."""
        announce = self._broker.announce
        took = await asyncio.gather(*(announce(topology.EVENTS_EXCHANGE, routing_key, message) for message in messages))
        return took[-1] if took else True

    def _drop(self, events: int) -> None:
        self._dropped += events
        EVENTS_DROPPED.inc(events)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._is_draining.wait()
        except TimeoutError:
            pass


def pack(happenings: Sequence[Happening]) -> list[Message]:
    """The messages that carry these events of one routing key: a few alone, more of them together."""
    if len(happenings) < MIN_EVENTS:
        return [_message(RunEvent.TYPE, _describe(one), one.depth) for one in happenings]
    return [
        _message(RunEvents.TYPE, {"events": [_describe(one) for one in part]}, max(one.depth for one in part))
        for part in (happenings[first : first + MAX_EVENTS] for first in range(0, len(happenings), MAX_EVENTS))
    ]


def _message(kind: str, body: dict[str, object], depth: int) -> Message:
    encoded = exact_json.dumps(body, option=orjson.OPT_UTC_Z)
    return Message(encoded, type=kind, message_id=new_message_id(), headers={envelope.DEPTH: depth})


def _describe(happening: Happening) -> dict[str, object]:
    """RunEvent, without going through the model, which costs ten times as much. A test holds the two together.

    Ids are texts already: the JSON encoder would call back for each one of the driver's class.
    """
    body: dict[str, object] = {
        "id": str(happening.id),
        "workflow": happening.workflow,
        "environment": happening.environment,
        "state": happening.state.value,
        "depth": happening.depth,
        "chain_id": str(happening.chain_id),
        "attempt": happening.attempt,
        "at": happening.at,
    }
    if happening.parent_run_id is not None:
        body["parent_run_id"] = str(happening.parent_run_id)
    if happening.reason is not None:
        body["reason"] = happening.reason
    if happening.path is not None:
        body["path"] = list(happening.path)
        if (cycle := find_cycle(happening.path)) is not None:
            body["cycle"] = cycle.describe()
    return body
