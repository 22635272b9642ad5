"""A message that cannot be decoded is dead-lettered once, with its reason, and harms no other message; neither do
connections that are lost again and again.
"""

import asyncio
import struct
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import aiormq
import pytest

from penstock.broker.port import Delivery
from penstock.broker.rabbitmq import RabbitBroker
from penstock.contracts.envelope import Message
from tests.cuttable import cuttable
from tests.eventually import eventually
from tests.integration.broking import Names, joined
from tests.raw_amqp import RefusedByBroker, long, properties, raw_publisher, short, table

GOOD: Final = 1500
NESTED: Final = b"F" + table()
LATIN: Final = b"caf\xe9"


def nest(levels: int, value: bytes = NESTED) -> bytes:
    """A table within a table, this many levels deep."""
    for _ in range(levels):
        value = b"F" + table((b"a", value))
    return value


POISON: Final[Mapping[str, bytes]] = {
    "property timestamp": properties(timestamp=struct.pack(">Q", 1_700_000_000_000_000)),
    "property timestamp: the timestamp 18446744073709551615": properties(timestamp=struct.pack(">Q", 2**64 - 1)),
    "header 'when'": properties(headers=table((b"when", b"T" + struct.pack(">Q", 2**64 - 1)))),
    "header 'list'": properties(headers=table((b"list", b"A" + long(b"T" + struct.pack(">Q", 2**64 - 1))))),
    "property message_id": properties(message_id=short(LATIN)),
    "property type": properties(type=short(LATIN)),
    "property correlation_id": properties(correlation_id=short(LATIN)),
    "property reply_to": properties(reply_to=short(b"\xff\xfe\x00")),
    "property content_type": properties(content_type=short(LATIN)),
    "property content_encoding": properties(content_encoding=short(LATIN)),
    "property app_id": properties(app_id=short(LATIN)),
    "property headers": properties(headers=table((LATIN, b"V"))),
    "header 'inner'": properties(headers=table((b"inner", b"F" + table((LATIN, b"V"))))),
    "levels deep": properties(headers=table((b"deep", nest(5000)))),
}
"""What its reason says, and the properties that no library's decoder takes."""
HARMLESS: Final = {
    "milliseconds": properties(timestamp=struct.pack(">Q", 1_700_000_000_000)),
    "decimal": properties(headers=table((b"d", b"D\x02" + struct.pack(">I", 12_345)))),
    "priority 255": properties(priority=b"\xff"),
    "expiration": properties(expiration=short(b"86400000")),
    "bytes in a long string": properties(headers=table((b"raw", b"S" + long(b"\xff\x00")))),
    "nested": properties(headers=table((b"deep", nest(20)))),
    "large": properties(headers=table(*((b"h%d" % number, b"S" + long(b"x" * 1000)) for number in range(100)))),
    "many": properties(headers=table(*((b"%d" % number, b"V") for number in range(15_000)))),
    "beyond a float": properties(headers=table((b"n", b"d" + struct.pack(">d", 1e300)))),
    "every type": properties(
        headers=table(
            (b"t", b"t\x01"), (b"b", b"b\xff"), (b"B", b"B\xff"), (b"s", b"s\xff\xff"), (b"u", b"u\xff\xff"),
            (b"I", b"I" + b"\xff" * 4), (b"i", b"i" + b"\xff" * 4), (b"l", b"l" + b"\xff" * 8),
            (b"f", b"f" + b"\x00" * 4), (b"d", b"d" + b"\x7f" * 8), (b"x", b"x" + long(b"\xff")), (b"V", b"V"),
        )
    ),
}  # fmt: skip


@pytest.fixture
def names() -> Names:
    return Names()


class Counted:
    """Counts bodies, and acks."""

    def __init__(self) -> None:
        self.bodies: Counter[bytes] = Counter()
        self.messages: list[Message] = []

    async def __call__(self, delivery: Delivery) -> None:
        self.bodies[delivery.message.body] += 1
        self.messages.append(delivery.message)
        await delivery.ack()


async def test_each_undecodable_message_is_dead_lettered_once_and_every_neighbour_is_handled_once(
    amqp_url: str, names: Names
) -> None:
    inbox, dead = Counted(), Counted()
    bad = {f"bad {number}".encode(): reason for number, reason in enumerate(POISON)}
    bad[b"bad key"] = "routing key"
    async with joined(amqp_url, names) as broker, raw_publisher(amqp_url) as raw:
        await asyncio.gather(*(broker.publish(names.work, "x", Message(b"%d" % n)) for n in range(GOOD // 2)))
        for body, values in zip(bad, POISON.values(), strict=False):
            await raw.publish(names.work, body, values)
        await raw.publish(names.work, b"bad key", key=b"live.caf\xe9")
        await asyncio.gather(*(broker.publish(names.work, "x", Message(b"%d" % n)) for n in range(GOOD // 2, GOOD)))
        await broker.consume(names.dead, dead, prefetch=100)
        await broker.consume(names.work, inbox, prefetch=100)
        await eventually(lambda: len(inbox.bodies) == GOOD and len(dead.bodies) == len(bad), within=60)
        assert broker.is_connected
        assert await broker.count_ready(names.work) == 0
    assert set(inbox.bodies.values()) == set(dead.bodies.values()) == {1}
    assert {message.body for message in dead.messages} == set(bad)
    for message in dead.messages:
        assert bad[message.body] in str(message.headers["reason"])


@pytest.mark.parametrize("name", HARMLESS)
async def test_strange_values_that_can_be_decoded_arrive_and_can_be_returned_and_dead_lettered(
    amqp_url: str, names: Names, name: str
) -> None:
    calls: list[Message] = []

    async def settle(delivery: Delivery) -> None:
        calls.append(delivery.message)
        settled = (delivery.requeue, delivery.reject)
        await (settled[len(calls) - 1]() if len(calls) <= 2 else delivery.dead_letter("enough"))

    dead = Counted()
    async with joined(amqp_url, names) as broker, raw_publisher(amqp_url) as raw:
        await broker.consume(names.dead, dead, prefetch=10)
        await broker.consume(names.work, settle, prefetch=10)
        await raw.publish(names.work, b"strange", HARMLESS[name])
        await eventually(lambda: dead.bodies == {b"strange": 1})
        assert broker.is_connected
    assert len(calls) == 3
    assert dead.messages[0].headers["reason"] == "enough"


@pytest.mark.parametrize(
    "header",
    [
        struct.pack(">HHQ", 60, 0, 1) + b"\x20\x00" + long(b"\x05when"),
        struct.pack(">HHQ", 60, 0, 1) + properties(headers=table((b"odd", b"Z123"))),
        struct.pack(">HHQ", 60, 0, 1) + properties(expiration=short(b"soon")),
        struct.pack(">HHQ", 60, 0, 1) + b"\x80",
        struct.pack(">HHQ", 60, 0, 1) + properties(delivery_mode=b"\x07"),
        struct.pack(">HHQ", 60, 0, 1) + properties(headers=table((b"n", b"d" + struct.pack(">d", float("inf"))))),
    ],
    ids=["cut off", "unknown type", "expiration", "half a flag", "delivery mode", "infinity"],
)
async def test_what_the_broker_refuses_or_passes_on_keeps_no_consumer_from_its_work(
    amqp_url: str, names: Names, header: bytes
) -> None:
    inbox = Counted()
    async with joined(amqp_url, names) as broker:
        await broker.consume(names.work, inbox, prefetch=10)
        with suppress(RefusedByBroker):
            async with raw_publisher(amqp_url) as raw:
                await raw.publish(names.work, b"?", header=header)
        await broker.publish(names.work, "x", Message(b"good"))
        await eventually(lambda: inbox.bodies[b"good"] == 1)
        assert broker.is_connected


async def test_thirty_lost_connections_during_a_backlog_dead_letter_nothing(amqp_url: str, names: Names) -> None:
    await lose_connections(amqp_url, names, times=30)


async def test_neither_do_they_in_a_queue_that_an_earlier_release_declared(amqp_url: str, names: Names) -> None:
    connection = await aiormq.connect(amqp_url)
    channel = await connection.channel()
    await channel.queue_declare(
        names.work,
        durable=True,
        arguments={"x-queue-type": "quorum", "x-delivery-limit": 20, "x-dead-letter-exchange": names.dead},
    )
    await connection.close()
    await lose_connections(amqp_url, names, times=30)


async def lose_connections(amqp_url: str, names: Names, *, times: int) -> None:
    """Cut all connections while a full prefetch is being handled, so often, and then handle everything."""
    handled, is_open, dead = Counted(), asyncio.Event(), Counted()
    arrived = asyncio.Semaphore(0)

    async def hold(delivery: Delivery) -> None:
        arrived.release()
        await is_open.wait()
        await handled(delivery)

    async with joined(amqp_url, names) as steady, cuttable(amqp_url) as door, joined(door.url, names) as broker:
        await steady.consume(names.dead, dead, prefetch=10)
        await asyncio.gather(*(steady.publish(names.work, "x", Message(b"%d" % n)) for n in range(20)))
        await broker.consume(names.work, hold, prefetch=10)
        for _ in range(times):
            for _ in range(10):
                await asyncio.wait_for(arrived.acquire(), 30)
            # Else a busy machine loses the connection that publishes twenty times before it is up once.
            await eventually(lambda: broker.is_connected, within=30)
            door.cut()
        is_open.set()
        await eventually(lambda: len(handled.bodies) == 20, within=30)
        await eventually(lambda: _is_empty(steady, names), within=30)
    assert dead.messages == []


async def _is_empty(broker: RabbitBroker, names: Names) -> bool:
    return await broker.count_ready(names.work) == 0
