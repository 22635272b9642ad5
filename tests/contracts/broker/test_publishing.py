"""Both brokers keep the port's promises to those who publish."""

import asyncio

import pytest

from penstock.broker.port import Broker
from penstock.contracts.envelope import Message
from penstock.errors import BrokerUnavailable
from tests.contracts.broker.joining import Inbox, Join, ack, is_ready, publish
from tests.eventually import eventually


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


async def test_announcing_reports_whether_a_queue_took_the_message(join: Join) -> None:
    broker, other, inbox = await join(), await join(), Inbox()
    assert not await broker.announce("events", "live.run.started", Message(b"nobody", message_id="n-1"))
    listening = await other.subscribe("events", "live.#", inbox)
    assert await broker.announce("events", "live.run.started", Message(b"one", message_id="n-2"))
    assert not await broker.announce("events", "development.run.started", Message(b"other", message_id="n-3"))
    await inbox.receive()
    assert inbox.bodies == [b"one"]
    await listening.stop()

    async def is_unbound() -> bool:
        return not await broker.announce("events", "live.run.started", Message(b"late", message_id="n-4"))

    await eventually(is_unbound)


async def test_closing_publishes_what_waits(join: Join) -> None:
    broker, other, inbox = await join(), await join(), Inbox()
    await other.subscribe("events", "#", inbox)

    async def drain() -> None:
        await broker.announce("events", "live.last", Message(b"last", message_id="l-1"))

    broker.before_close(drain)
    await broker.close()
    await inbox.receive()
    assert inbox.bodies == [b"last"]


async def test_closed_broker_announces_nothing(broker: Broker) -> None:
    await broker.close()
    with pytest.raises(BrokerUnavailable):
        await broker.announce("events", "live.x", Message(b"x", message_id="x-1"))


async def test_ready_messages_are_counted(broker: Broker) -> None:
    assert await broker.count_ready("work") == 0
    await publish(broker, b"1", b"2", b"3")
    await eventually(lambda: is_ready(broker, "work", 3))
    assert await broker.count_ready("no such queue") is None
    assert await broker.count_ready("work") == 3


async def test_closed_broker_refuses_to_publish_and_drops_events(broker: Broker) -> None:
    await broker.close()
    assert not broker.is_connected
    broker.publish_soon("events", "live.x", Message(b"x"))
    with pytest.raises(BrokerUnavailable):
        await broker.publish("work", "live.notify", Message(b"x"))
    await broker.close()
