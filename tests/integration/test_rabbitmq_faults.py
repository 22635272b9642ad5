"""What the RabbitMQ broker does when RabbitMQ goes away, comes back empty, hangs, or is not ours to arrange."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import aio_pika
import aiohttp
import aiormq
import pytest

from penstock.broker.port import Delivery
from penstock.broker.rabbitmq import RabbitBroker, connect
from penstock.contracts.envelope import Message
from penstock.errors import BrokerUnavailable, ConfigurationError
from tests.eventually import eventually
from tests.integration.broking import Names, joined, queues_have_settled
from tests.private_servers import PrivateRabbitMQ
from tests.servers import Servers, running_rabbitmq


class Inbox:
    """Keeps the bodies it is given and acks them; while `is_open` is not set, its handlers wait."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.finished: list[bytes] = []
        self.is_open = asyncio.Event()
        self.is_open.set()

    async def __call__(self, delivery: Delivery) -> None:
        self.bodies.append(delivery.message.body)
        await self.is_open.wait()
        await delivery.ack()
        self.finished.append(delivery.message.body)


class Calls:
    """A callback that counts."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self) -> None:
        self.count += 1


@pytest.fixture(scope="module")
async def shared_node() -> AsyncIterator[PrivateRabbitMQ]:
    """A node for all tests of this file: a start takes seconds."""
    async with running_rabbitmq() as node:
        yield node


@pytest.fixture
async def node(shared_node: PrivateRabbitMQ) -> AsyncIterator[PrivateRabbitMQ]:
    """The node, running; a test may stop, kill, freeze and empty it."""
    yield shared_node
    try:
        await (await aio_pika.connect(shared_node.url, timeout=2)).close()
    except (OSError, TimeoutError):  # the test failed half-way
        await shared_node.kill()
        await shared_node.start()


@pytest.fixture
def names() -> Names:
    return Names()


async def is_published(broker: RabbitBroker, names: Names, body: bytes) -> bool:
    try:
        await broker.publish(names.work, "x", Message(body))
    except BrokerUnavailable:
        return False
    return True


async def test_restart_is_survived_with_everything_in_the_queues(node: PrivateRabbitMQ, names: Names) -> None:
    async with joined(node.url, names) as broker:
        inbox, calls = Inbox(), Calls()
        broker.on_reconnect(calls)
        await broker.publish(names.work, "x", Message(b"1"))
        await node.stop()
        await eventually(lambda: not broker.is_connected)
        with pytest.raises(BrokerUnavailable):
            await broker.publish(names.work, "x", Message(b"lost"))
        assert await broker.count_ready(names.work) is None
        await broker.consume(names.work, inbox, prefetch=10)
        assert calls.count == 0
        await node.start()
        await eventually(lambda: broker.is_connected)
        await eventually(lambda: calls.count == 1)
        await eventually(lambda: is_published(broker, names, b"2"))
        await eventually(lambda: inbox.bodies == [b"1", b"2"])


async def test_kill_loses_no_confirmed_message_and_cancels_no_handler(node: PrivateRabbitMQ, names: Names) -> None:
    async with joined(node.url, names) as broker:
        inbox = Inbox()
        inbox.is_open.clear()
        await queues_have_settled()
        await broker.consume(names.work, inbox, prefetch=2)
        for body in (b"1", b"2", b"3"):
            await broker.publish(names.work, "x", Message(body))
        await eventually(lambda: inbox.bodies == [b"1", b"2"])
        await node.kill()
        await eventually(lambda: not broker.is_connected)
        inbox.is_open.set()
        await eventually(lambda: inbox.finished == [b"1", b"2"])
        await node.start()
        await eventually(lambda: len(inbox.finished) == 5, within=30)
        assert sorted(inbox.finished[2:]) == [b"1", b"2", b"3"]


async def test_emptied_broker_gets_its_queues_and_consumers_back(node: PrivateRabbitMQ, names: Names) -> None:
    async with joined(node.url, names) as broker:
        inbox, answers, calls = Inbox(), Inbox(), Calls()
        broker.on_reconnect(calls)
        await broker.consume(names.work, inbox, prefetch=2)
        reply_to = await broker.open_reply_queue(answers)
        await node.wipe()
        await eventually(lambda: calls.count == 1, within=30)
        await eventually(lambda: is_published(broker, names, b"1"))
        await eventually(lambda: inbox.bodies[-1:] == [b"1"])
        broker.publish_soon("", reply_to, Message(b"42"))
        await eventually(lambda: answers.bodies == [b"42"])


async def test_frozen_broker_fails_publishes_in_time_and_is_left_for_a_new_connection(
    node: PrivateRabbitMQ, names: Names
) -> None:
    async with joined(node.url, names) as broker, joined(node.url, names) as closing:
        inbox = Inbox()
        await broker.consume(names.work, inbox, prefetch=2)
        node.freeze()
        try:
            async with asyncio.timeout(4):
                with pytest.raises(BrokerUnavailable, match=r"did not confirm .* within 0.5 s"):
                    await broker.publish(names.work, "x", Message(b"1"), timeout_seconds=0.5)
            async with asyncio.timeout(15):
                await closing.close()
            await eventually(lambda: not broker.is_connected, within=30)
        finally:
            node.thaw()
        await eventually(lambda: is_published(broker, names, b"2"), within=30)
        await eventually(lambda: b"2" in inbox.bodies)


async def test_frozen_broker_delays_no_event_and_no_publisher_for_ever(node: PrivateRabbitMQ, names: Names) -> None:
    async with joined(node.url, names) as broker:
        node.freeze()
        try:
            for _ in range(20_000):
                broker.publish_soon(names.work, "x", Message(b"x" * 1000))
            outcomes = await asyncio.gather(
                *(broker.publish(names.work, "x", Message(b"x" * 1000), timeout_seconds=1) for _ in range(1000)),
                return_exceptions=True,
            )
        finally:
            node.thaw()
        assert {type(outcome) for outcome in outcomes} == {BrokerUnavailable}
        await eventually(lambda: is_published(broker, names, b"2"), within=40)


async def test_deleted_queue_is_declared_and_consumed_again(amqp_url: str, names: Names) -> None:
    async with joined(amqp_url, names) as broker, joined(amqp_url, names) as bystander:
        inbox, calls = Inbox(), Calls()
        broker.on_reconnect(calls)
        bystander.on_reconnect(calls)
        await broker.consume(names.work, inbox, prefetch=2)
        await delete_queue(amqp_url, names.work)
        await eventually(lambda: is_published(broker, names, b"1"))
        await eventually(lambda: inbox.bodies == [b"1"])
        seen = await eventually(lambda: calls.count)
        await delete_queue(amqp_url, names.dead)
        await eventually(lambda: calls.count > seen)


async def delete_queue(url: str, queue: str) -> None:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        await channel.queue_delete(queue, if_unused=False, if_empty=False)


async def test_broker_that_is_away_at_the_start_is_connected_to_later(node: PrivateRabbitMQ, names: Names) -> None:
    await node.stop()
    async with asyncio.timeout(10):
        broker = await connect(node.url, topology=names.topology, name="faults")
    inbox, answers, calls = Inbox(), Inbox(), Calls()
    broker.on_reconnect(calls)
    assert not broker.is_connected
    with pytest.raises(BrokerUnavailable):
        await broker.publish(names.work, "x", Message(b"1"))
    broker.publish_soon(names.work, "x", Message(b"dropped"))
    await broker.consume(names.work, inbox, prefetch=2)
    reply_to = await broker.open_reply_queue(answers)
    await node.start()
    await eventually(lambda: calls.count == 1)
    await broker.publish(names.work, "x", Message(b"1"))
    await broker.publish("", reply_to, Message(b"42"))
    await eventually(lambda: (inbox.bodies, answers.bodies) == ([b"1"], [b"42"]))
    await broker.close()


HOLDER: Final = """
import asyncio, sys
from penstock.broker.rabbitmq import connect
from penstock.contracts.topology import Topology

async def main(url, queue):
    broker = await connect(url, topology=Topology((), (), ()), name="holder")
    async def hold(delivery):
        print(delivery.message.body.decode(), flush=True)
    await broker.consume(queue, hold, prefetch=10)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_deliveries_of_a_killed_process_come_again(amqp_url: str, names: Names) -> None:
    async with joined(amqp_url, names) as broker:
        holder = await asyncio.create_subprocess_exec(
            sys.executable, "-c", HOLDER, amqp_url, names.work, stdout=asyncio.subprocess.PIPE
        )
        assert holder.stdout is not None
        await broker.publish(names.work, "x", Message(b"1"))
        async with asyncio.timeout(20):
            while (await holder.stdout.readline()).strip() != b"1":
                assert holder.returncode is None
        holder.kill()
        await holder.wait()
        inbox = Inbox()
        await broker.consume(names.work, inbox, prefetch=1)
        await eventually(lambda: inbox.bodies == [b"1"])


async def test_message_of_a_plain_client_may_lack_every_property(amqp_url: str, names: Names) -> None:
    received: list[Delivery] = []

    async def keep(delivery: Delivery) -> None:
        received.append(delivery)
        await delivery.ack()

    async with joined(amqp_url, names) as broker:
        await broker.consume(names.work, keep, prefetch=2)
        connection = await aiormq.connect(amqp_url)
        channel = await connection.channel(publisher_confirms=False)
        await channel.basic_publish(
            b"{}", routing_key=names.work, properties=aiormq.spec.Basic.Properties(message_id="m")
        )
        await channel.basic_publish(
            b"{}",
            routing_key=names.work,
            properties=aiormq.spec.Basic.Properties(headers={"depth": "3", "list": [1, {"a": None}]}),
        )
        await eventually(lambda: len(received) == 2)
        await connection.close()
    plain = received[0].message
    assert plain == Message(b"{}", message_id="m", content_type="", is_persistent=False)
    assert received[1].message.headers == {"depth": "3", "list": [1, {"a": None}]}


async def test_queue_with_other_arguments_is_used_as_it_is(amqp_url: str, names: Names) -> None:
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        await channel.declare_queue(names.work, durable=True)
    async with joined(amqp_url, names) as broker:
        inbox = Inbox()
        await broker.consume(names.work, inbox, prefetch=2)
        await broker.publish(names.work, "x", Message(b"1"))
        await eventually(lambda: inbox.bodies == [b"1"])


async def test_user_who_may_not_declare_uses_the_topology_an_operator_has_made(
    servers: Servers, amqp_url: str, names: Names
) -> None:
    async with (
        joined(amqp_url, names),
        limited_user(servers, amqp_url) as limited_url,
        joined(limited_url, names) as broker,
    ):
        inbox = Inbox()
        await eventually(lambda: broker.is_connected)
        await broker.consume(names.work, inbox, prefetch=2)
        await broker.publish(names.work, "x", Message(b"1"))
        await eventually(lambda: inbox.bodies == [b"1"])


@asynccontextmanager
async def limited_user(servers: Servers, url: str) -> AsyncIterator[str]:
    """The URL of `url` for a user who may publish and consume, but not declare."""
    parts, name = urlsplit(url), f"limited-{uuid4().hex}"
    permissions = {"configure": "^$", "write": ".*", "read": ".*"}
    async with aiohttp.ClientSession(f"{servers.management_url}/", raise_for_status=True) as http:
        await (await http.put(f"api/users/{name}", json={"password": "limited", "tags": ""})).release()
        await (await http.put(f"api/permissions{parts.path}/{name}", json=permissions)).release()
        try:
            yield parts._replace(netloc=f"{name}:limited@{parts.hostname}:{parts.port}").geturl()
        finally:
            await (await http.delete(f"api/users/{name}")).release()


@pytest.mark.parametrize("url", ["", "localhost", "http://localhost", "amqp://", "amqp://host:port"])
async def test_wrong_address_is_a_configuration_error(url: str, names: Names) -> None:
    with pytest.raises(ConfigurationError, match="PENSTOCK_AMQP_URL"):
        await connect(url, topology=names.topology, name="faults")
