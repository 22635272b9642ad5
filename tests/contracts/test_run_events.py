"""The events of runs are written without their model, for speed; here the two are held together."""

from uuid import UUID

import pytest

from penstock import clock
from penstock.broker.inprocess import InProcessBroker
from penstock.broker.port import Delivery
from penstock.broker.publisher import Publisher
from penstock.broker.run_events import MIN_EVENTS, Happening, pack
from penstock.contracts.messages import RunEvent, RunEvents
from penstock.contracts.topology import EVENTS_EXCHANGE, topology
from penstock.domain.runs import RunSummary
from penstock.domain.states import RunState
from tests.eventually import eventually

RUN = RunSummary(
    id=UUID(int=1), chain_id=UUID(int=2), parent_run_id=None, environment="live", workflow="make",
    state=RunState.FAILED, depth=3,
    scheduled_at=clock.now(), attempt=2,
)  # fmt: skip
CHILD = RunSummary(UUID(int=3), UUID(int=2), UUID(int=1), "live", "make", RunState.TERMINATED, 4, RUN.scheduled_at)


@pytest.mark.parametrize(
    ("what", "run", "reason", "path"),
    [
        ("failed", RUN, "no luck", None),
        ("succeeded", RUN, None, None),
        ("terminated", CHILD, "depth_limit", ["start", "make"]),
    ],
)
async def test_a_run_event_is_what_its_model_would_write(
    what: str, run: RunSummary, reason: str | None, path: list[str] | None
) -> None:
    broker = InProcessBroker(topology())
    deliveries: list[Delivery] = []

    async def note(delivery: Delivery) -> None:
        deliveries.append(delivery)

    await broker.subscribe(EVENTS_EXCHANGE, "live.run.*", note)
    Publisher(broker).run_event(what, run, reason=reason, path=path)
    await eventually(lambda: len(deliveries) == 1)
    message = deliveries[0].message
    event = RunEvent.decode(message.body)
    assert (deliveries[0].routing_key, message.type, message.headers) == (
        f"live.run.{what}",
        RunEvent.TYPE,
        {"depth": run.depth},
    )
    assert (event.id, event.chain_id, event.parent_run_id, event.state) == (
        run.id,
        run.chain_id,
        run.parent_run_id,
        run.state,
    )
    assert (event.workflow, event.depth, event.attempt, event.reason, event.path) == (
        "make",
        run.depth,
        run.attempt,
        reason,
        path,
    )
    assert RunEvent.decode(event.encode()) == event
    many = [_happening(run, reason, path)] * MIN_EVENTS
    (message,) = pack(many)
    assert (message.type, message.headers) == (RunEvents.TYPE, {"depth": run.depth})
    assert [known.model_copy(update={"at": event.at}) for known in RunEvents.decode(message.body).events] == [
        event
    ] * MIN_EVENTS
    await broker.close()


def _happening(run: RunSummary, reason: str | None, path: list[str] | None) -> Happening:
    """What the publisher makes of it."""
    return Happening(
        run.id, run.chain_id, run.parent_run_id, run.environment, run.workflow, run.state, run.depth, run.attempt,
        clock.now(), reason, path,
    )  # fmt: skip
