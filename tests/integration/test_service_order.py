"""How a service begins and ends, whatever its room: nothing is lost in between, and a hard stop releases too."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from penstock.broker.inprocess import InProcessBroker
from penstock.broker.port import Delivery
from penstock.contracts.envelope import Message
from penstock.contracts.topology import SCHEDULE_EXCHANGE, SCHEDULER_QUEUE, topology
from penstock.db import Database
from penstock.errors import DatabaseUnavailable
from penstock.runtime import Consumer, Counts, Edges, Loop, Resources, Stop, run_service
from penstock_scheduler.settings import SchedulerSettings
from tests.eventually import eventually
from tests.integration.scheduling import build_settings


@dataclass
class Room:
    """A room that notes what happens to it."""

    events: list[str] = field(default_factory=list)
    handled: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    fails_to_release: bool = False

    def note(self, event: str) -> None:
        if event not in self.events:
            self.events.append(event)

    async def handle(self, delivery: Delivery) -> None:
        self.note("handling")
        self.handled.set()
        await self.may_end.wait()
        self.note("handled")
        await delivery.ack()

    async def finish(self) -> None:
        self.note("finished")

    async def release(self) -> None:
        self.note("released")
        if self.fails_to_release:
            raise DatabaseUnavailable("away")


async def turn(room: Room) -> Counts:
    room.note("loop")
    return Counts()


async def keep(room: Room) -> Counts:
    room.note("upkeep")
    return Counts()


async def serve(room: Room, database: Database, broker: InProcessBroker, stop: Stop) -> None:
    @asynccontextmanager
    async def open_room(_: SchedulerSettings, resources: Resources, __: Stop) -> AsyncIterator[Room]:
        room.note("opened")
        yield room
        room.note("closed")

    def make_edges(_: Room) -> Edges[Room]:
        return Edges(
            consumers=(Consumer(SCHEDULER_QUEUE, room.handle, 10),),
            loops=(Loop("turn", 0.01, turn), Loop("keep", 0.01, keep, is_upkeep=True)),
            leave=lambda: room.note("leaving"),
            finish=room.finish,
            release=room.release,
        )

    await run_service("room", build_settings(), stop, Resources(database, broker), open_room, make_edges)


async def begin(room: Room, database: Database, stop: Stop) -> asyncio.Task[None]:
    broker = InProcessBroker(topology())
    task = asyncio.create_task(serve(room, database, broker, stop))
    await broker.publish(SCHEDULE_EXCHANGE, "live.greet", Message(b"{}", message_id="1"))
    async with asyncio.timeout(20):
        await room.handled.wait()
    await eventually(lambda: {"loop", "upkeep"} <= set(room.events))
    return task


async def test_a_soft_stop_finishes_what_is_in_flight_before_anything_is_released(database: Database) -> None:
    room, stop = Room(), Stop()
    task = await begin(room, database, stop)
    stop.request()
    await eventually(lambda: "leaving" in room.events)
    room.events.remove("upkeep")
    await eventually(lambda: "upkeep" in room.events)  # while a message is being handled
    room.may_end.set()
    async with asyncio.timeout(20):
        await task
    after = [event for event in room.events if event not in ("opened", "loop", "handling")]
    assert after == ["leaving", "upkeep", "handled", "finished", "released", "closed"]


async def test_a_hard_stop_releases_what_is_not_finished(database: Database) -> None:
    room = Room()
    task = await begin(room, database, Stop())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert room.events[-2:] == ["leaving", "released"]


async def test_what_cannot_be_released_does_not_keep_a_service_from_ending(database: Database) -> None:
    room, stop = Room(fails_to_release=True), Stop()
    task = await begin(room, database, stop)
    room.may_end.set()
    stop.request()
    async with asyncio.timeout(20):
        await task
    assert room.events[-2:] == ["released", "closed"]
