"""`publish` steps: what listeners get, and that a broker that is away loses nothing."""

import orjson
import pytest

from penstock.broker.inprocess import InProcessBroker
from penstock.broker.port import Broker, Delivery
from penstock.broker.publisher import Publisher
from penstock.contracts.topology import EVENTS_EXCHANGE, topology
from penstock.db import open_database
from penstock.store.deployments import DeploymentCache
from tests.eventually import eventually
from tests.integration.executing import House, Outside, serve_outside

PAID = """
workflow: paid
parameters: {number: text}
steps:
  - id: said
    publish: "order.${params.number}"
    body: {number: "${params.number}", lines: [1, 2.5, null]}
  - return: {id: "${steps.said}"}
"""


class Listener:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []

    async def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)


@pytest.fixture(params=["rabbitmq", "inprocess"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Either of them."""
    chosen: Broker = request.getfixturevalue(request.param)
    return chosen


async def test_a_message_says_whose_it_is(house: House) -> None:
    listener = Listener()
    await house.broker.subscribe(EVENTS_EXCHANGE, "development.order.#", listener)
    await house.deploy(PAID)
    async with house.executor():
        runs = await house.admit("paid", {"number": "A-17"}, depth=3)
        await house.publisher.dispatch(runs)
        run = await house.ended(runs[0].id)
        await eventually(lambda: len(listener.deliveries) == 1)
    delivery = listener.deliveries[0]
    message = delivery.message
    assert (delivery.routing_key, orjson.loads(message.body)) == (
        "development.order.A-17",
        {"number": "A-17", "lines": [1, 2.5, None]},
    )
    assert (message.message_id, message.type, message.is_persistent) == (f"{run['id']}/said", "app.message.v1", True)
    assert run["result"] == {"id": message.message_id}
    traceparent = str(message.headers["traceparent"])
    assert dict(message.headers) == {
        "environment": "development", "depth": 3, "chain-id": str(run["chain_id"]), "parent-run-id": str(run["id"]),
        "traceparent": traceparent,
    }  # fmt: skip
    assert traceparent.split("-")[1] == run["chain_id"].hex


async def test_nobody_has_to_listen(house: House) -> None:
    await house.deploy(PAID)
    async with house.executor():
        assert (await house.perform("paid", {"number": "1"}))["state"] == "succeeded"


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        ("a b", "it has to be words of A-Z a-z 0-9 _ - with dots between them, such as order.paid"),
        ("", "it has to be words of A-Z a-z 0-9 _ - with dots between them, such as order.paid"),
        ("a" * 200, "it may have 200 characters"),
    ],
)
@pytest.mark.parametrize("broker", ["inprocess"], indirect=True)
async def test_a_key_that_cannot_be_one_fails_the_step(house: House, number: str, problem: str) -> None:
    await house.deploy(PAID)
    async with house.executor():
        run = await house.perform("paid", {"number": number})
    assert (run["state"], run["error"]["kind"]) == ("failed", "arguments")
    assert run["error"]["message"].endswith(f"cannot be a routing key: {problem}")


@pytest.mark.parametrize("broker", ["inprocess"], indirect=True)
async def test_a_body_that_is_too_large_fails_the_step(house: House) -> None:
    await house.deploy(
        "workflow: big\nparameters: {body: text}\nsteps:\n  - {publish: order.big, body: '${params.body}'}\n"
    )
    async with house.executor():
        run = await house.perform("big", {"body": "x" * 1_100_000})
    assert run["error"]["message"].endswith(
        "the body has 1100002 bytes as JSON, and a message may have 1048576; send an id instead"
    )


async def test_while_the_broker_is_away_the_run_is_given_back_and_its_message_is_not_lost(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = await open_database(database_url, name="executor tests", most=8)
    first, second = InProcessBroker(topology()), InProcessBroker(topology())
    listener, gate = Listener(), Outside()
    await second.subscribe(EVENTS_EXCHANGE, "development.order.#", listener)
    house = House(database, first, Publisher(first), DeploymentCache(database))
    async with serve_outside(gate.handle) as gate.url:
        monkeypatch.setenv("PENSTOCK_SECRET_GATE", gate.url)
        await house.deploy(
            PAID.replace("steps:", 'steps:\n  - http: "${secrets.GATE}"').replace(
                "    publish", "    timeout: 300ms\n    publish"
            )
        )
        async with house.executor(outgoing_allow="127.0.0.1"):
            runs = await house.admit("paid", {"number": "7"})
            await house.publisher.dispatch(runs)
            await eventually(lambda: gate.waiting == 1)
            await first.close()
            gate.answers.set()
            run = await house.ended(runs[0].id, "queued")
        assert (run["attempt"], run["failures"], listener.deliveries) == (1, 0, [])
        house = House(database, second, Publisher(second), DeploymentCache(database))
        async with house.executor(outgoing_allow="127.0.0.1"):
            await house.publisher.dispatch(await house.summaries(run["id"]))
            assert (await house.ended(run["id"]))["state"] == "succeeded"
            await eventually(lambda: len(listener.deliveries) == 1)
    assert gate.seen == 1
    await second.close()
    await database.close()
