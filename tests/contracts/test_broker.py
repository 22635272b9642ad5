"""Both brokers keep the port's promises. Each test has queues of its own: a vhost, or a new in-process broker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

import pytest

from penstock.broker.inprocess import InProcessBroker
from penstock.broker.port import Broker, Delivery
from penstock.broker.rabbitmq import connect
from penstock.contracts.envelope import Message
from penstock.contracts.topology import Binding, Exchange, Queue, Topology
from penstock.errors import BrokerUnavailable
from tests.eventually import eventually

LIMIT: Final = 3
TOPOLOGY: Final = Topology(
    exchanges=(
        Exchange("work", "topic"),
        Exchange("lanes", "direct"),
        Exchange("events", "topic"),
        Exchange("dead", "fanout"),
    ),
    queues=(Queue("work", "dead", LIMIT), Queue("fast", "dead", LIMIT), Queue("dead", None)),
    bindings=(Binding("work", "work", "live.#"), Binding("lanes", "fast", "fast"), Binding("dead", "dead", "")),
)
Join = Callable[[], Awaitable[Broker]]


@pytest.fixture
async def rabbitmq(amqp_url: str) -> AsyncIterator[Join]:
    """Makes clients of one vhost."""
    async with AsyncExitStack() as opened:

        async def open_client() -> Broker:
            broker = await connect(amqp_url, topology=TOPOLOGY, name="contract")
            opened.push_async_callback(broker.close)
            return broker

        yield open_client


@pytest.fixture
async def inprocess() -> AsyncIterator[Join]:
    """Makes clients of one in-process broker."""
    async with AsyncExitStack() as opened:
        first = InProcessBroker(TOPOLOGY)

        async def open_client() -> Broker:
            broker = first.share()
            opened.push_async_callback(broker.close)
            return broker

        yield open_client


@pytest.fixture(params=["rabbitmq", "inprocess"])
def join(request: pytest.FixtureRequest) -> Join:
    """Makes clients of one broker."""
    clients: Join = request.getfixturevalue(request.param)
    return clients


@pytest.fixture
async def broker(join: Join) -> Broker:
    """One client."""
    return await join()


class Inbox:
    """A handler that keeps what it is given; `settle` says what it does with it."""

    def __init__(self, settle: Callable[[Delivery], Awaitable[None]] | None = None) -> None:
        self.deliveries: list[Delivery] = []
        self._settle = settle

    async def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        if self._settle is not None:
            await self._settle(delivery)

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.message.body for delivery in self.deliveries]

    async def receive(self, count: int = 1) -> list[Delivery]:
        await eventually(lambda: len(self.deliveries) >= count)
        return self.deliveries


async def ack(delivery: Delivery) -> None:
    await delivery.ack()


async def reject(delivery: Delivery) -> None:
    await delivery.reject()


async def publish(broker: Broker, *bodies: bytes, key: str = "live.notify") -> None:
    await asyncio.gather(*(broker.publish("work", key, Message(body)) for body in bodies))


async def test_message_arrives_with_body_properties_and_headers_intact(broker: Broker) -> None:
    inbox = Inbox(ack)
    await broker.consume("work", inbox, prefetch=10)
    headers = {
        "depth": 3,
        "large": 2**40,
        "negative": -1,
        "lane": "default",
        "is_last": True,
        "traceparent": "00-ü-01",
        "none": None,
    }
    sent = Message(
        b'{"a": 1}',
        type="run.execute.v1",
        message_id="m-1",
        correlation_id="c-1",
        reply_to="answers",
        headers=headers,
        is_persistent=True,
    )
    await broker.publish("work", "live.notify", sent)
    delivery = (await inbox.receive())[0]
    assert delivery.message == sent
    assert {name: type(value) for name, value in delivery.message.headers.items()} == {
        name: type(value) for name, value in headers.items()
    }
    assert (delivery.exchange, delivery.routing_key) == ("work", "live.notify")


async def test_transient_message_stays_transient(broker: Broker) -> None:
    inbox = Inbox(ack)
    await broker.consume("work", inbox, prefetch=10)
    await broker.publish("work", "live.notify", Message(b"x", is_persistent=False))
    assert not (await inbox.receive())[0].message.is_persistent


async def test_body_of_several_megabytes_arrives(broker: Broker) -> None:
    inbox = Inbox(ack)
    await broker.consume("work", inbox, prefetch=10)
    body = b"0123456789" * 500_000
    await broker.publish("work", "live.notify", Message(body))
    assert (await inbox.receive())[0].message.body == body


async def test_empty_body_arrives(broker: Broker) -> None:
    inbox = Inbox(ack)
    await broker.consume("work", inbox, prefetch=10)
    await publish(broker, b"")
    assert (await inbox.receive())[0].message.body == b""


async def test_topic_exchange_routes_by_pattern_and_direct_exchange_by_key(broker: Broker) -> None:
    work, fast = Inbox(ack), Inbox(ack)
    await broker.consume("work", work, prefetch=10)
    await broker.consume("fast", fast, prefetch=10)
    await publish(broker, b"to work", key="live.a.b")
    await broker.publish("lanes", "fast", Message(b"to fast"))
    await broker.publish("", "fast", Message(b"to fast by name"))
    await fast.receive(2)
    await work.receive()
    assert (work.bodies, fast.bodies) == ([b"to work"], [b"to fast", b"to fast by name"])


@pytest.mark.parametrize(
    ("exchange", "key"), [("work", "development.notify"), ("lanes", "slow"), ("", "no such queue")]
)
async def test_message_that_no_queue_takes_raises(broker: Broker, exchange: str, key: str) -> None:
    with pytest.raises(BrokerUnavailable, match="no queue"):
        await broker.publish(exchange, key, Message(b"x"))


async def test_message_that_nobody_has_to_take_is_confirmed_all_the_same(broker: Broker) -> None:
    await broker.publish("events", "live.nobody", Message(b"x", message_id="same"), must_route=False)
    inbox = Inbox()
    await broker.subscribe("events", "live.#", inbox)
    await broker.publish("events", "live.somebody", Message(b"y", message_id="same"), must_route=False)
    await inbox.receive()
    assert inbox.bodies == [b"y"]


async def test_unroutable_messages_with_one_id_all_raise(broker: Broker) -> None:
    sent = (broker.publish("work", "nowhere", Message(b"x", message_id="same")) for _ in range(20))
    outcomes = await asyncio.gather(*sent, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [BrokerUnavailable] * 20


async def test_exchange_that_does_not_exist_raises_and_the_broker_recovers(broker: Broker) -> None:
    with pytest.raises(BrokerUnavailable):
        await broker.publish("no such exchange", "x", Message(b"x"))
    await eventually(lambda: _is_taken(broker))


async def _is_taken(broker: Broker) -> bool:
    try:
        await broker.publish("work", "live.notify", Message(b"x"))
    except BrokerUnavailable:
        return False
    return True


async def test_messages_of_one_publisher_arrive_in_order(broker: Broker) -> None:
    inbox = Inbox(ack)
    bodies = [str(number).encode() for number in range(100)]
    for body in bodies:
        await publish(broker, body)
    await broker.consume("work", inbox, prefetch=10)
    await inbox.receive(100)
    assert inbox.bodies == bodies


async def test_at_most_prefetch_deliveries_are_unsettled(broker: Broker) -> None:
    inbox = Inbox()
    await broker.consume("work", inbox, prefetch=3)
    await publish(broker, *(b"%d" % number for number in range(10)))
    await inbox.receive(3)
    await eventually(lambda: _is_ready(broker, "work", 7))
    assert len(inbox.deliveries) == 3
    await inbox.deliveries[1].ack()
    await inbox.receive(4)
    await eventually(lambda: _is_ready(broker, "work", 6))
    assert len(inbox.deliveries) == 4


async def _is_ready(broker: Broker, queue: str, count: int) -> bool:
    return await broker.count_ready(queue) == count


async def test_acked_message_is_not_delivered_again(join: Join) -> None:
    broker, inbox = await join(), Inbox(ack)
    await broker.consume("work", inbox, prefetch=10)
    await publish(broker, b"x")
    await inbox.receive()
    await broker.close()
    other, again = await join(), Inbox(ack)
    await other.consume("work", again, prefetch=10)
    await publish(other, b"y")
    await again.receive()
    assert again.bodies == [b"y"]


async def test_rejected_message_comes_again_until_the_limit_and_is_dead_lettered(broker: Broker) -> None:
    inbox, dead = Inbox(reject), Inbox(ack)
    await broker.consume("dead", dead, prefetch=10)
    await broker.consume("work", inbox, prefetch=10)
    await publish(broker, b"poison")
    await dead.receive()
    assert (inbox.bodies, dead.bodies) == ([b"poison"] * (LIMIT + 1), [b"poison"])


async def test_requeued_message_comes_again_as_it_was_and_is_not_counted(broker: Broker) -> None:
    async def requeue_often(delivery: Delivery) -> None:
        await (delivery.requeue() if len(inbox.deliveries) <= 4 * LIMIT else delivery.ack())

    inbox = Inbox(requeue_often)
    await broker.consume("work", inbox, prefetch=1)
    sent = Message(
        b"x",
        type="x",
        message_id="m-1",
        correlation_id="c-1",
        reply_to="r",
        headers={"depth": 1, "list": [1, {"a": True}]},
    )
    await broker.publish("work", "live.notify", sent)
    deliveries = await inbox.receive(4 * LIMIT + 1)
    assert [delivery.message for delivery in deliveries] == [sent] * (4 * LIMIT + 1)
    assert {(delivery.exchange, delivery.routing_key) for delivery in deliveries} == {("work", "live.notify")}
    await eventually(lambda: _is_ready(broker, "work", 0))
    assert await broker.count_ready("dead") == 0


async def test_handler_that_raises_rejects(broker: Broker) -> None:
    async def fail(_: Delivery) -> None:
        raise ValueError("a bug")

    inbox, dead = Inbox(fail), Inbox(ack)
    await broker.consume("dead", dead, prefetch=10)
    await broker.consume("work", inbox, prefetch=10)
    await publish(broker, b"poison")
    await dead.receive()
    assert (len(inbox.bodies), dead.bodies) == (LIMIT + 1, [b"poison"])


async def test_handler_that_raises_after_settling_changes_nothing(broker: Broker) -> None:
    async def ack_and_fail(delivery: Delivery) -> None:
        await delivery.ack()
        raise ValueError("a bug")

    inbox = Inbox(ack_and_fail)
    await broker.consume("work", inbox, prefetch=1)
    await publish(broker, b"1", b"2")
    await inbox.receive(2)
    assert inbox.bodies == [b"1", b"2"]


async def test_dead_lettered_message_carries_reason_and_origin_and_is_never_delivered_again(broker: Broker) -> None:
    async def park(delivery: Delivery) -> None:
        await delivery.dead_letter("body: not JSON")

    inbox, dead = Inbox(park), Inbox(ack)
    await broker.consume("dead", dead, prefetch=10)
    await broker.consume("work", inbox, prefetch=1)
    sent = Message(b"{", type="x", message_id="m-1", headers={"depth": 2, "odd": {"a": [1]}, "long": "x" * 60_000})
    await broker.publish("work", "live.notify", sent)
    await publish(broker, b"next")
    await dead.receive(2)
    parked = dead.deliveries[0].message
    assert (parked.body, parked.type, parked.message_id) == (b"{", "x", "m-1")
    assert parked.headers == {
        "depth": 2,
        "reason": "body: not JSON",
        "original-exchange": "work",
        "original-routing-key": "live.notify",
    }
    assert inbox.bodies == [b"{", b"next"]


async def test_dead_letters_themselves_are_only_rejected(broker: Broker) -> None:
    async def park_once(delivery: Delivery) -> None:
        await (delivery.dead_letter("why") if len(inbox.deliveries) == 1 else delivery.ack())

    inbox = Inbox(park_once)
    await broker.publish("dead", "", Message(b"x"))
    await broker.consume("dead", inbox, prefetch=1)
    await inbox.receive(2)
    assert inbox.bodies == [b"x", b"x"]


async def test_settling_twice_changes_nothing(broker: Broker) -> None:
    async def settle_often(delivery: Delivery) -> None:
        await delivery.ack()
        await delivery.reject()
        await delivery.requeue()
        await delivery.dead_letter("no")

    inbox = Inbox(settle_often)
    await broker.consume("work", inbox, prefetch=1)
    await publish(broker, b"1", b"2")
    await inbox.receive(2)
    assert inbox.bodies == [b"1", b"2"]
    assert await broker.count_ready("dead") == 0


async def test_unsettled_deliveries_come_again_when_their_consumers_client_closes(join: Join) -> None:
    dying, inbox = await join(), Inbox()
    await dying.consume("work", inbox, prefetch=10)
    await publish(dying, b"1", b"2", b"3")
    await inbox.receive(3)
    await inbox.deliveries[1].ack()
    await dying.close()
    other, again = await join(), Inbox(ack)
    await other.consume("work", again, prefetch=10)
    await again.receive(2)
    assert sorted(again.bodies) == [b"1", b"3"]


async def test_close_cancels_handlers_under_way_and_gives_their_deliveries_back(join: Join) -> None:
    cancelled = asyncio.Event()

    async def hang(_: Delivery) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    dying, inbox = await join(), Inbox(hang)
    await dying.consume("work", inbox, prefetch=10)
    await publish(dying, b"1")
    await inbox.receive()
    await dying.close()
    assert cancelled.is_set()
    assert not dying.is_connected
    other, again = await join(), Inbox(ack)
    await other.consume("work", again, prefetch=10)
    await again.receive()
    assert again.bodies == [b"1"]


async def test_stopped_consumer_takes_nothing_more_and_lets_running_handlers_settle(join: Join) -> None:
    broker, release = await join(), asyncio.Event()

    async def wait_and_ack(delivery: Delivery) -> None:
        await release.wait()
        await delivery.ack()

    inbox = Inbox(wait_and_ack)
    consumer = await broker.consume("work", inbox, prefetch=2)
    await publish(broker, b"1", b"2", b"3")
    await inbox.receive(2)
    await consumer.stop()
    release.set()
    await consumer.drain()
    await eventually(lambda: _is_ready(broker, "work", 1))
    await broker.close()
    other, again = await join(), Inbox(ack)
    await other.consume("work", again, prefetch=10)
    await publish(other, b"4")
    await again.receive(2)
    assert (inbox.bodies, again.bodies) == ([b"1", b"2"], [b"3", b"4"])


async def test_stopped_consumer_gives_back_what_no_handler_has_begun_with(broker: Broker) -> None:
    inbox, other = Inbox(), Inbox(ack)
    consumer = await broker.consume("work", inbox, prefetch=100)
    publishing = asyncio.create_task(publish(broker, *(b"%d" % number for number in range(50))))
    await inbox.receive(1)
    await consumer.stop()
    begun = list(inbox.deliveries)
    await publishing
    await broker.consume("work", other, prefetch=100)
    await other.receive(50 - len(begun))
    assert inbox.deliveries == begun
    for delivery in begun:
        await delivery.ack()
    assert sorted(inbox.bodies + other.bodies) == sorted(b"%d" % number for number in range(50))


async def test_consumers_of_one_queue_share_the_work(join: Join) -> None:
    first, second = await join(), await join()
    one, two = Inbox(ack), Inbox(ack)
    await first.consume("work", one, prefetch=5)
    await second.consume("work", two, prefetch=5)
    await publish(first, *(b"%d" % number for number in range(100)))
    await eventually(lambda: len(one.bodies) + len(two.bodies) == 100)
    assert min(len(one.bodies), len(two.bodies)) > 10
    assert sorted(one.bodies + two.bodies) == sorted(b"%d" % number for number in range(100))


async def test_ten_thousand_messages_all_arrive_once(broker: Broker) -> None:
    inbox = Inbox(ack)
    await broker.consume("work", inbox, prefetch=200)
    bodies = [b"%d" % number for number in range(10_000)]
    await asyncio.gather(*(broker.publish("work", "live.notify", Message(body), timeout_seconds=60) for body in bodies))
    await eventually(lambda: len(inbox.deliveries) >= 10_000, within=60)
    await eventually(lambda: _is_ready(broker, "work", 0))
    assert sorted(inbox.bodies) == sorted(bodies)


async def test_reply_queue_receives_answers_published_without_confirm(join: Join) -> None:
    asking, answering, inbox = await join(), await join(), Inbox()
    reply_to = await asking.open_reply_queue(inbox)
    answering.publish_soon("", reply_to, Message(b"42", correlation_id="c-1", is_persistent=False))
    answer = (await inbox.receive())[0]
    await answer.ack()
    assert (answer.message.body, answer.message.correlation_id) == (b"42", "c-1")


async def test_reply_queue_goes_with_its_client(join: Join) -> None:
    asking, other = await join(), await join()
    reply_to = await asking.open_reply_queue(Inbox())
    await other.publish("", reply_to, Message(b"x"))
    await asking.close()

    async def is_gone() -> bool:
        return await other.count_ready(reply_to) is None

    await eventually(is_gone)
    with pytest.raises(BrokerUnavailable):
        await other.publish("", reply_to, Message(b"x"))


async def test_answers_to_a_queue_that_is_gone_are_dropped(join: Join) -> None:
    broker, inbox = await join(), Inbox()
    broker.publish_soon("", "gone", Message(b"x"))
    reply_to = await broker.open_reply_queue(inbox)
    broker.publish_soon("", reply_to, Message(b"y"))
    await inbox.receive()
    assert inbox.bodies == [b"y"]


async def test_events_without_listeners_and_with_several(join: Join) -> None:
    broker, other = await join(), await join()
    broker.publish_soon("events", "live.run.started", Message(b"nobody listens"))
    every, ended = Inbox(), Inbox()
    await other.subscribe("events", "live.#", every)
    listening = await other.subscribe("events", "*.run.succeeded", ended)
    for event in ("live.run.started", "live.run.succeeded", "development.run.started"):
        broker.publish_soon("events", event, Message(event.encode()))
    await every.receive(2)
    await ended.receive(1)
    assert (every.bodies, ended.bodies) == ([b"live.run.started", b"live.run.succeeded"], [b"live.run.succeeded"])
    await listening.stop()
    broker.publish_soon("events", "live.run.succeeded", Message(b"later"))
    await every.receive(3)
    assert ended.bodies == [b"live.run.succeeded"]


async def test_event_whose_headers_cannot_be_sent_harms_no_other(broker: Broker) -> None:
    inbox = Inbox()
    await broker.subscribe("events", "#", inbox)
    broker.publish_soon("events", "live.bad", Message(b"x", headers={"huge": 2**70}))
    broker.publish_soon("events", "live.good", Message(b"good"))
    await eventually(lambda: b"good" in inbox.bodies)


async def test_ready_messages_are_counted(broker: Broker) -> None:
    assert await broker.count_ready("work") == 0
    await publish(broker, b"1", b"2", b"3")
    await eventually(lambda: _is_ready(broker, "work", 3))
    assert await broker.count_ready("no such queue") is None
    assert await broker.count_ready("work") == 3


async def test_closed_broker_refuses_to_publish_and_drops_events(broker: Broker) -> None:
    await broker.close()
    assert not broker.is_connected
    broker.publish_soon("events", "live.x", Message(b"x"))
    with pytest.raises(BrokerUnavailable):
        await broker.publish("work", "live.notify", Message(b"x"))
    await broker.close()
