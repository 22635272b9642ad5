"""Events of runs leave together under load, none is lost to a listener, and none is published for nobody."""

from penstock import clock
from penstock.broker.inprocess import InProcessBroker
from penstock.broker.publisher import Publisher
from penstock.broker.run_events import MAX_EVENTS, MAX_WAITING, MIN_EVENTS, Happening, RunEventStream
from penstock.contracts.messages import RunEvent, RunEvents
from penstock.contracts.topology import EVENTS_EXCHANGE, topology
from penstock.domain.ids import new_run_id
from penstock.domain.runs import RunSummary
from penstock.domain.states import RunState
from penstock.metrics import REGISTRY
from tests.contracts.broker.joining import Inbox, Join
from tests.eventually import eventually


def _run(depth: int = 0) -> RunSummary:
    id = new_run_id()
    return RunSummary(id, id, None, "live", "make", RunState.SUCCEEDED, depth, clock.now(), 1)


def _read(inbox: Inbox) -> list[RunEvent]:
    events: list[RunEvent] = []
    for delivery in inbox.deliveries:
        body = delivery.message.body
        events += RunEvents.decode(body).events if delivery.message.type == RunEvents.TYPE else [RunEvent.decode(body)]
    return events


async def test_every_event_of_many_runs_arrives_once_and_in_order_in_few_messages(join: Join) -> None:
    broker, other, inbox = await join(), await join(), Inbox()
    await other.subscribe(EVENTS_EXCHANGE, "live.run.*", inbox)
    publisher, runs = Publisher(broker), [_run(number % 7) for number in range(3 * MAX_EVENTS)]
    for run in runs:
        publisher.run_event("succeeded", run)
    await eventually(lambda: len(_read(inbox)) >= len(runs))
    assert [event.id for event in _read(inbox)] == [run.id for run in runs]
    assert len(inbox.deliveries) <= 1 + len(runs) // MAX_EVENTS
    assert {delivery.message.headers["depth"] for delivery in inbox.deliveries} == {0, 6}
    assert {delivery.routing_key for delivery in inbox.deliveries} == {"live.run.succeeded"}


async def test_a_few_events_leave_in_a_message_each(join: Join) -> None:
    broker, other, inbox = await join(), await join(), Inbox()
    await other.subscribe(EVENTS_EXCHANGE, "live.run.*", inbox)
    publisher = Publisher(broker)
    for _ in range(MIN_EVENTS - 1):
        publisher.run_event("succeeded", _run())
    await inbox.receive(MIN_EVENTS - 1)
    assert {delivery.message.type for delivery in inbox.deliveries} == {RunEvent.TYPE}


async def test_one_event_is_published_for_many_where_nobody_listens() -> None:
    broker = InProcessBroker(topology())
    publisher = Publisher(broker)
    for _ in range(5 * MAX_EVENTS):
        publisher.run_event("succeeded", _run())
    await broker.close()
    assert broker.count_settled() == 1


async def test_a_listener_that_came_late_gets_the_first_event_after_it(join: Join) -> None:
    broker, other, inbox = await join(), await join(), Inbox()
    publisher = Publisher(broker)
    for _ in range(3 * MIN_EVENTS):
        publisher.run_event("succeeded", _run())
    await other.subscribe(EVENTS_EXCHANGE, "live.run.*", inbox)
    heard = [_run() for _ in range(3 * MIN_EVENTS)]
    for run in heard:
        publisher.run_event("succeeded", run)
    await eventually(lambda: {run.id for run in heard} <= {event.id for event in _read(inbox)})


async def test_events_that_wait_when_a_process_ends_are_published(join: Join) -> None:
    broker, other, inbox = await join(), await join(), Inbox()
    await other.subscribe(EVENTS_EXCHANGE, "live.run.*", inbox)
    publisher, runs = Publisher(broker), [_run() for _ in range(2 * MIN_EVENTS)]
    for run in runs:
        publisher.run_event("succeeded", run)
    await broker.close()
    await eventually(lambda: len(_read(inbox)) == len(runs))


async def test_of_many_events_at_once_those_without_room_are_dropped_and_counted() -> None:
    broker, inbox = InProcessBroker(topology()), Inbox()
    await broker.subscribe(EVENTS_EXCHANGE, "live.run.*", inbox)
    stream, run, before = RunEventStream(broker), _run(), _count_dropped()
    happening = Happening(
        run.id, run.chain_id, None, "live", "make", RunState.SUCCEEDED, run.depth, run.attempt, clock.now()
    )
    stream.add("live.run.succeeded", [happening] * (MAX_WAITING + 3))
    stream.add("live.run.succeeded", [happening])
    assert _count_dropped() - before == 4
    await stream.drain()
    await eventually(lambda: len(inbox.deliveries) == 1 + MAX_WAITING // MAX_EVENTS)
    assert len(_read(inbox)) == MAX_WAITING
    stream.add("live.run.succeeded", [])
    await broker.close()


def _count_dropped() -> float:
    return REGISTRY.get_sample_value("penstock_dropped_events_total") or 0.0
