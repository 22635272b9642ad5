"""Execute messages on both brokers: which are refused, handed back, held; and a run when broker or scheduler are
away.
"""

from dataclasses import replace

import pytest

from penstock.broker.inprocess import InProcessBroker
from penstock.broker.port import Broker, Delivery
from penstock.broker.publisher import Publisher
from penstock.contracts import envelope
from penstock.contracts.envelope import Message
from penstock.contracts.messages import DueRun, ExecuteRuns
from penstock.contracts.topology import (
    DEAD_LETTER_QUEUE,
    DEFAULT_LANE,
    EXECUTE_EXCHANGE,
    SCHEDULE_EXCHANGE,
    executor_queue,
    topology,
)
from penstock.domain.runs import RunSummary
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House, Outside, serve_outside

ONCE = "workflow: once\nsteps:\n  - create: thing\n    set: {name: once}\n"


@pytest.fixture(params=["inprocess", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Either of them."""
    chosen: Broker = request.getfixturevalue(request.param)
    return chosen


class Parked:
    """What lies in the dead letters."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    async def __call__(self, delivery: Delivery) -> None:
        self.reasons.append(str(delivery.message.headers.get(envelope.REASON)))
        await delivery.ack()


def execute(run: RunSummary, **headers: object) -> Message:
    """An execute message with these headers."""
    due = DueRun(run_id=run.id, workflow=run.workflow, chain_id=run.chain_id)
    return Message(ExecuteRuns(runs=[due]).encode(), type=ExecuteRuns.TYPE, message_id="m", headers=headers)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"environment": ENVIRONMENT}, "header depth is missing"),
        ({"environment": ENVIRONMENT, "depth": "1"}, "header depth is missing, or is not a whole number"),
        ({"environment": ENVIRONMENT, "depth": -1}, "header depth is missing, or is not a whole number"),
        ({"environment": ENVIRONMENT, "depth": True}, "header depth is missing, or is not a whole number"),
        ({"environment": ENVIRONMENT, "depth": 11}, "depth 11 is beyond the limit of 10"),
        ({"environment": "nowhere", "depth": 1}, "there is no such environment"),
        ({"depth": 1}, "there is no such environment"),
    ],
)
async def test_a_message_without_a_fitting_header_is_dead_lettered(
    house: House, headers: dict[str, object], reason: str
) -> None:
    await house.deploy(ONCE)
    (run,) = await house.admit("once")
    parked = Parked()
    await house.broker.consume(DEAD_LETTER_QUEUE, parked, prefetch=10)
    async with house.executor():
        await house.broker.publish(EXECUTE_EXCHANGE, DEFAULT_LANE, execute(run, **headers))
        await eventually(lambda: len(parked.reasons) == 1)
    assert reason in parked.reasons[0]
    assert (await house.get(run.id))["state"] == "queued"


@pytest.mark.parametrize("body", [b"no json", b"{}", b'{"runs": []}', b'{"runs": [{"run_id": 5}]}'])
async def test_a_malformed_message_is_dead_lettered(house: House, body: bytes) -> None:
    await house.deploy(ONCE)
    parked = Parked()
    await house.broker.consume(DEAD_LETTER_QUEUE, parked, prefetch=10)
    async with house.executor():
        message = Message(body, type=ExecuteRuns.TYPE, message_id="m", headers={"depth": 0, "environment": ENVIRONMENT})
        await house.broker.publish(EXECUTE_EXCHANGE, DEFAULT_LANE, message)
        await house.broker.publish(EXECUTE_EXCHANGE, DEFAULT_LANE, Message(b"{}", type="never.v1", message_id="n"))
        await eventually(lambda: len(parked.reasons) == 2)


async def test_a_raised_limit_is_seen_when_a_message_seems_too_deep(house: House) -> None:
    await house.deploy(ONCE)
    (first,) = await house.admit("once")
    async with house.executor():
        await house.publisher.dispatch([first])
        await house.ended(first.id)
        await house.fetch("UPDATE penstock.environments SET depth_limit = 25 WHERE name = $1", ENVIRONMENT)
        (deep,) = await house.admit("once", depth=25)
        await house.publisher.dispatch([deep])
        assert (await house.ended(deep.id))["state"] == "succeeded"


async def test_a_run_as_deep_as_its_refused_message_says_is_terminated(house: House) -> None:
    await house.deploy(ONCE)
    (deep,) = await house.admit("once", depth=9)
    await house.fetch("UPDATE penstock.environments SET depth_limit = 5 WHERE name = $1", ENVIRONMENT)
    async with house.executor():
        await house.publisher.dispatch([deep])
        row = await house.ended(deep.id)
    assert (row["state"], row["error"]["kind"]) == ("terminated", "depth_limit")


async def test_what_finds_no_slot_is_offered_to_others(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock_executor.handlers.HAND_BACK_SECONDS", 0.2)
    outside = Outside()
    async with serve_outside(outside.handle) as outside.url:
        monkeypatch.setenv("PENSTOCK_SECRET_URL", outside.url)
        await house.deploy('workflow: slow\nsteps:\n  - http: "${secrets.URL}"\n')
        runs = await house.admit("slow", count=5)
        async with house.executor(executor_concurrency=2, outgoing_allow="127.0.0.1"):
            await house.publisher.dispatch(runs)
            await eventually(lambda: outside.waiting == 2)
            async with house.executor(executor_concurrency=3, outgoing_allow="127.0.0.1"):
                await eventually(lambda: outside.waiting == 5)
                outside.answers.set()
                rows = [await house.ended(run.id) for run in runs]
    assert {(row["state"], row["attempt"]) for row in rows} == {("succeeded", 1)}
    assert len({row["owner"] for row in rows}) == 2


async def test_many_runs_come_out_right(house: House) -> None:
    await house.deploy("""
workflow: two
parameters: {n: number}
steps:
  - id: a
    create: thing
    set: {remaining: "${params.n}", name: a}
  - id: b
    create: thing
    set: {remaining: "${params.n}", name: b}
  - return: {a: "${steps.a._id}", b: "${steps.b._id}"}
""")
    runs = [(await house.admit("two", {"n": number}))[0] for number in range(300)]
    async with house.executor(executor_concurrency=50), house.executor(executor_concurrency=50):
        await house.publisher.dispatch(runs)
        rows = [await house.ended(run.id) for run in runs]
    assert {row["state"] for row in rows} == {"succeeded"}
    things = {thing["_id"]: (thing["name"], int(thing["remaining"])) for thing in await house.things()}
    assert len(things) == 600
    for row in rows:
        n = row["parameters"]["n"]
        assert (things[row["result"]["a"]], things[row["result"]["b"]]) == (("a", n), ("b", n))
    assert await house.broker.count_ready(executor_queue()) == 0


async def test_a_run_is_given_back_uncharged_when_the_broker_stays_away(house: House) -> None:
    await house.deploy("""
workflow: parent
steps:
  - create: thing
    set: {name: once}
  - id: child
    schedule: child
    after: 1h  # what is due now needs no broker
    timeout: 300ms
  - return: {child: "${steps.child}"}
---
workflow: child
steps:
  - log: done
""")
    whole = topology()
    deaf = InProcessBroker(
        replace(whole, bindings=tuple(item for item in whole.bindings if item.exchange != SCHEDULE_EXCHANGE))
    )
    cut_off = replace(house, broker=deaf, publisher=Publisher(deaf))
    async with cut_off.executor():
        run_id = await cut_off.start("parent")
        await cut_off.ended(run_id, "running")
        row = await cut_off.ended(run_id, "queued")
    assert (row["attempt"], row["failures"], row["crashes"], row["error"]) == (1, 0, 0, None)
    async with house.executor():
        await house.publisher.dispatch(await house.summaries(run_id))
        row = await house.ended(run_id)
    assert (row["state"], row["attempt"]) == ("succeeded", 2)
    assert len(await house.things()) == 1
