"""Liveness shows that a service consumes, and readiness that it may be sent something; by its admin port."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from penstock.broker.port import Broker, Delivery, Handler
from penstock.contracts.envelope import Message
from penstock.contracts.topology import SCHEDULE_EXCHANGE, SCHEDULER_QUEUE
from penstock.db import Database
from penstock.runtime import Consumer, Edges, Pulse, Resources, Stop, run_service
from penstock.runtime.pulse import CONSUMPTION_LIMIT_SECONDS, MESSAGE_LIMIT_SECONDS
from penstock.testing.ports import find_port
from penstock_scheduler.settings import SchedulerSettings
from tests.eventually import eventually
from tests.integration.scheduling import build_settings


@pytest.fixture(params=["inprocess", "rabbitmq"])
def broker(request: pytest.FixtureRequest, inprocess: Broker, rabbitmq: Broker) -> Broker:
    return inprocess if request.param == "inprocess" else rabbitmq


class Room:
    """A room whose clock the test moves, and whose messages end when the test lets them."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.pulse = Pulse(lambda: self.seconds)
        self.port = find_port()
        self.received = 0
        self.may_end = asyncio.Event()

    async def hold(self, delivery: Delivery) -> None:
        """Handle a message for as long as the test wants."""
        self.received += 1
        await self.may_end.wait()
        await delivery.ack()

    async def forget(self, _: Delivery) -> None:
        """Handle a message, and never settle it: the broker gives us no other."""
        self.received += 1

    async def probe(self, path: str) -> tuple[int, dict[str, object]]:
        """Status and body of a probe."""
        async with aiohttp.request("GET", f"http://127.0.0.1:{self.port}{path}") as response:
            return response.status, await response.json()


@asynccontextmanager
async def serving_room(room: Room, database: Database, broker: Broker, handle: Handler) -> AsyncIterator[Stop]:
    """A service that holds one message at a time, once it has the first of two."""

    @asynccontextmanager
    async def open_room(_: SchedulerSettings, __: Resources, ___: Stop) -> AsyncIterator[Room]:
        yield room

    def make_edges(_: Room) -> Edges[Room]:
        return Edges(consumers=(Consumer(SCHEDULER_QUEUE, handle, 1),), admin=web.Application())

    stop, settings = Stop(), build_settings(admin_port=room.port)
    resources = Resources(database, broker, room.pulse)
    task = asyncio.create_task(run_service("room", settings, stop, resources, open_room, make_edges))
    try:
        for number in range(2):
            await broker.publish(SCHEDULE_EXCHANGE, "live.greet", Message(b"{}", message_id=str(number)))
        await eventually(lambda: room.received == 1, within=30)
        yield stop
    finally:
        room.may_end.set()
        stop.request()
        async with asyncio.timeout(20):
            await task


async def test_a_message_that_is_handled_for_ever_fails_the_liveness_probe(database: Database, broker: Broker) -> None:
    room = Room()
    async with serving_room(room, database, broker, room.hold):
        room.seconds += MESSAGE_LIMIT_SECONDS - 1
        assert (await room.probe("/healthz"))[0] == 200
        room.seconds += 2
        stuck = [f"a message of {SCHEDULER_QUEUE} takes too long"]
        assert await room.probe("/healthz") == (503, {"status": "stuck", "stuck": stuck})
        room.may_end.set()
        await eventually(lambda: room.received == 2)
        assert (await room.probe("/healthz"))[0] == 200


async def test_a_consumer_that_gets_nothing_of_what_waits_fails_the_liveness_probe(
    database: Database, broker: Broker
) -> None:
    room = Room()
    async with serving_room(room, database, broker, room.forget):
        await room.pulse.look(broker)  # the first message came
        for _ in range(2):
            await room.pulse.look(broker)
            room.seconds += CONSUMPTION_LIMIT_SECONDS / 2 + 1
        stuck = [f"nothing is received from {SCHEDULER_QUEUE}, where messages wait"]
        assert await room.probe("/healthz") == (503, {"status": "stuck", "stuck": stuck})
        async with aiohttp.request("GET", f"http://127.0.0.1:{room.port}/metrics") as response:
            assert "penstock_stuck_parts 1.0" in await response.text()


async def test_readiness_goes_off_while_the_service_drains(database: Database, broker: Broker) -> None:
    room = Room()
    async with serving_room(room, database, broker, room.hold) as stop:
        assert (await room.probe("/readyz"))[0] == 200
        stop.request()
        assert (await room.probe("/readyz"))[0] == 503
        assert (await room.probe("/healthz"))[0] == 200, "what is in flight is to be finished"
