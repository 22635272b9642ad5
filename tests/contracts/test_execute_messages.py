"""The messages that name due runs are written without their model, for speed; here the two are held together."""

from uuid import UUID

from penstock import clock
from penstock.broker.inprocess import InProcessBroker
from penstock.broker.port import Delivery
from penstock.broker.publisher import Publisher
from penstock.contracts.messages import DueRun, ExecuteRuns
from penstock.contracts.topology import BULK_LANE, DEFAULT_LANE, executor_queue, topology
from penstock.domain.runs import RunSummary
from penstock.domain.states import RunState
from tests.eventually import eventually

ROOT = RunSummary(UUID(int=1), UUID(int=1), None, "live", "make", RunState.QUEUED, 0, clock.now())
CHILD = RunSummary(UUID(int=3), UUID(int=1), UUID(int=1), "live", "mäke", RunState.QUEUED, 4, clock.now(), is_bulk=True)


async def test_an_execute_message_is_what_its_model_would_write() -> None:
    broker = InProcessBroker(topology())
    deliveries: list[Delivery] = []

    async def note(delivery: Delivery) -> None:
        deliveries.append(delivery)
        await delivery.ack()

    for lane in (DEFAULT_LANE, BULK_LANE):
        await broker.consume(executor_queue(lane), note, prefetch=10)
    await Publisher(broker).dispatch([ROOT, CHILD], {ROOT.id: "replies"})
    await eventually(lambda: len(deliveries) == 2)
    bodies = {delivery.message.headers["depth"]: delivery.message.body for delivery in deliveries}
    expected = {
        0: DueRun(run_id=ROOT.id, workflow="make", chain_id=ROOT.chain_id, reply_to="replies"),
        4: DueRun(run_id=CHILD.id, workflow="mäke", chain_id=ROOT.id, parent_run_id=ROOT.id),
    }
    for depth, due in expected.items():
        assert bodies[depth] == ExecuteRuns(runs=[due]).encode()
        assert ExecuteRuns.decode(bodies[depth]).runs == [due]
    assert {delivery.message.type for delivery in deliveries} == {ExecuteRuns.TYPE}
    await broker.close()
