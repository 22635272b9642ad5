"""Both brokers keep the port's promises to those who consume: how deliveries are settled, and what comes again."""

import asyncio

from penstock.broker.dead_letters import DEATH
from penstock.broker.port import Broker, Delivery
from penstock.contracts.envelope import Message
from tests.contracts.broker.joining import LIMIT, Inbox, Join, ack, is_ready, publish, reject
from tests.eventually import eventually


async def test_at_most_prefetch_deliveries_are_unsettled(broker: Broker) -> None:
    inbox = Inbox()
    await broker.consume("work", inbox, prefetch=3)
    await publish(broker, *(b"%d" % number for number in range(10)))
    await inbox.receive(3)
    await eventually(lambda: is_ready(broker, "work", 7))
    assert len(inbox.deliveries) == 3
    await inbox.deliveries[1].ack()
    await inbox.receive(4)
    await eventually(lambda: is_ready(broker, "work", 6))
    assert len(inbox.deliveries) == 4


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
    await eventually(lambda: is_ready(broker, "work", 0))
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
    assert {name: value for name, value in parked.headers.items() if name != DEATH} == {
        "depth": 2,
        "reason": "body: not JSON",
        "original-queue": "work",
        "original-exchange": "work",
        "original-routing-key": "live.notify",
    }
    assert inbox.bodies == [b"{", b"next"]


async def test_message_is_dead_lettered_once_whatever_its_reason_and_headers_hold(broker: Broker) -> None:
    async def park(delivery: Delivery) -> None:
        await delivery.dead_letter("half \ud800 a pair, \x00 and \N{GRINNING FACE}" * 100)

    inbox, dead = Inbox(park), Inbox(ack)
    await broker.consume("dead", dead, prefetch=10)
    await broker.consume("work", inbox, prefetch=1)
    headers = {f"{number}": "\N{GRINNING FACE}" * 600 for number in range(50)}
    await broker.publish("work", "live.notify", Message(b"{", headers=headers))
    await publish(broker, b"next")
    await dead.receive(2)
    assert inbox.bodies == dead.bodies == [b"{", b"next"]
    assert str(dead.deliveries[0].message.headers["reason"]).startswith("half ? a pair")


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
    await eventually(lambda: is_ready(broker, "work", 1))
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
    await eventually(lambda: is_ready(broker, "work", 0))
    assert sorted(inbox.bodies) == sorted(bodies)
