"""Schedule messages without an id: each makes one run, though it may be delivered again after its run was committed."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import orjson
import pytest

from penstock.broker.port import Delivery
from penstock.broker.rabbitmq import RabbitBroker, connect
from penstock.contracts.envelope import Message
from penstock.contracts.topology import SCHEDULE_EXCHANGE, SCHEDULER_QUEUE, topology
from penstock.db import Database
from penstock.runtime import Resources, Stop
from penstock_scheduler.handlers import receive
from penstock_scheduler.room import furnish
from tests.cuttable import CuttableServer, cuttable
from tests.eventually import eventually
from tests.integration.scheduling import ENVIRONMENT, Station, build_settings
from tests.raw_amqp import raw_publisher

BODY = orjson.dumps({"workflow": "notify", "environment": ENVIRONMENT, "parameters": {"name": "afar"}})


class CutBeforeAck:
    """A delivery whose connection is cut when it is about to be acknowledged."""

    def __init__(self, delivery: Delivery, cut: Callable[[], None]) -> None:
        self._delivery, self._cut = delivery, cut
        self.reject, self.requeue, self.dead_letter = delivery.reject, delivery.requeue, delivery.dead_letter

    @property
    def message(self) -> Message:
        return self._delivery.message

    @property
    def exchange(self) -> str:
        return self._delivery.exchange

    @property
    def routing_key(self) -> str:
        return self._delivery.routing_key

    async def ack(self) -> None:
        self._cut()
        await self._delivery.ack()

    async def ack_and_confirm(self) -> bool:
        self._cut()
        return await self._delivery.ack_and_confirm()


class House:
    """A scheduler's `receive` behind a connection that can be cut."""

    def __init__(self, station: Station, broker: RabbitBroker, door: CuttableServer) -> None:
        self.station, self._broker, self._door = station, broker, door
        self.names: list[str] = []

    async def consume(self, *, cuts: int) -> None:
        """Handle messages, and cut the connection before the first acks."""
        room = furnish(build_settings(), Resources(self.station.database, self._broker), Stop())

        async def handle(delivery: Delivery) -> None:
            self.names.append(delivery.message.message_id)
            await receive(room, CutBeforeAck(delivery, self._door.cut) if len(self.names) <= cuts else delivery)

        await self._broker.consume(SCHEDULER_QUEUE, handle, prefetch=10)

    async def is_done(self) -> bool:
        """Whether nothing waits, and nothing is bound that could be taken for another message's."""
        bound = await self.station.fetchval("SELECT count(*) FROM penstock.idempotency_keys")
        return await self._broker.count_ready(SCHEDULER_QUEUE) == 0 and bound == 0


@pytest.fixture
async def house(database: Database, amqp_url: str) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        steady = await connect(amqp_url, topology=topology(), name="steady")
        stack.push_async_callback(steady.close)
        station = Station(database, steady)
        await station.open()
        door = await stack.enter_async_context(cuttable(amqp_url))
        broker = await connect(door.url, topology=topology(), name="scheduler")
        stack.push_async_callback(broker.close)
        yield House(station, broker, door)


async def publish(url: str, *bodies: bytes) -> None:
    async with raw_publisher(url) as raw:
        for body in bodies:
            await raw.publish(SCHEDULE_EXCHANGE, body)


async def test_lost_connection_between_commit_and_ack_makes_no_second_run(house: House, amqp_url: str) -> None:
    await publish(amqp_url, BODY)
    await house.consume(cuts=1)
    await eventually(lambda: len(house.names) >= 2, within=30)
    await eventually(house.is_done, within=30)
    assert len(await house.station.runs()) == 1


async def test_each_of_several_is_recognised_by_its_content_a_list_too(house: House, amqp_url: str) -> None:
    content = orjson.loads(BODY)
    bodies = [orjson.dumps({**content, "parameters": {"name": name}}) for name in ("Ada", "Bob", "Cy")]
    await publish(amqp_url, *bodies, orjson.dumps({**content, "list": {"items": [{}, {}]}}))
    await house.consume(cuts=4)
    await eventually(lambda: len(house.names) >= 8, within=30)
    await eventually(house.is_done, within=30)
    assert sorted(run["parameters"]["name"] for run in await house.station.runs()) == ["Ada", "Bob", "Cy"]
    assert await house.station.fetchval("SELECT count(*) FROM penstock.lists") == 1


async def test_the_same_content_sent_often_makes_as_many_runs(house: House, amqp_url: str) -> None:
    await publish(amqp_url, BODY, BODY, BODY)
    await house.consume(cuts=0)
    await eventually(lambda: _has(house, 3), within=30)
    await eventually(house.is_done, within=30)
    assert len(await house.station.runs()) == 3


async def test_none_of_the_same_content_is_lost_with_a_connection(house: House, amqp_url: str) -> None:
    await publish(amqp_url, BODY, BODY, BODY)
    await house.consume(cuts=3)
    await eventually(lambda: len(house.names) >= 6, within=30)
    await eventually(lambda: _has(house, 3), within=30)


async def _has(house: House, count: int) -> bool:
    return len(await house.station.runs()) >= count
