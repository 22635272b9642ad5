"""What internal services and executors ask of a scheduler by message: admitted once, answered, or dead-lettered with a
reason.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import cast
from uuid import UUID, uuid4

import orjson
import pytest

from penstock.broker.port import Broker
from penstock.broker.publisher import Publisher
from penstock.contracts.envelope import Message
from penstock.contracts.messages import ChildRun, ScheduleChildren
from penstock.db import Database
from penstock.domain.ids import child_run_id
from penstock.errors import DecodeError
from penstock_scheduler.handlers.messages import BIG_BYTES, schedule_run
from penstock_scheduler.room import BIG_MESSAGES
from tests.eventually import eventually
from tests.integration.scheduling import ENVIRONMENT, WORKFLOWS, Station


@pytest.fixture(params=["rabbitmq", "inprocess"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Either broker."""
    either: Broker = request.getfixturevalue(request.param)
    return either


async def test_a_plain_message_makes_a_root_that_is_dispatched_at_once(station: Station) -> None:
    async with station.scheduler():
        answer = await station.ask()
        await station.executor.receive()
    (run,) = await station.runs()
    assert answer == {"run_id": str(run["id"]), "state": "queued", "duplicate": False}
    assert (run["depth"], run["trigger"], run["chain_id"], run["parameters"]) == (
        0,
        "message",
        run["id"],
        {"name": "afar", "urgency": 1},
    )
    assert station.executor.run_ids() == [run["id"]]
    assert f"{ENVIRONMENT}.run.scheduled" in station.events.routing_keys


async def test_a_trace_is_kept_by_the_run_and_by_those_it_leads_to_and_a_bad_one_is_no_reason_to_refuse(
    station: Station,
) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with station.scheduler():
        root = await station.ask(headers={"traceparent": trace})
        await station.ask(headers={"parent-run-id": root["run_id"], "depth": 1})
        await station.ask(headers={"traceparent": "nonsense"})
        await station.ask(headers={"traceparent": 7})
    contexts = sorted(str(run["context"]) for run in await station.runs())
    assert contexts == ["None", "None", *[str({"trace": {"traceparent": trace}})] * 2]


async def test_depth_header_is_believed_up_to_the_limit_and_terminated_beyond(station: Station) -> None:
    async with station.scheduler():
        states = {depth: (await station.ask(headers={"depth": depth}))["state"] for depth in (0, 10, 11)}
        await eventually(lambda: f"{ENVIRONMENT}.run.terminated" in station.events.routing_keys)
    assert states == {0: "queued", 10: "queued", 11: "terminated"}
    terminated = next(run for run in await station.runs() if run["state"] == "terminated")
    assert (terminated["depth"], terminated["parameters"]["name"], terminated["error"]["kind"]) == (
        11,
        "afar",
        "depth_limit",
    )


async def test_stored_parent_decides_the_depth_whatever_the_header_says(station: Station) -> None:
    async with station.scheduler():
        parent = str((await station.ask(headers={"depth": 4}))["run_id"])
        for depth in (0, 3, 9):
            await station.ask(headers={"depth": depth, "parent-run-id": parent})
    runs = await station.runs()
    assert sorted(run["depth"] for run in runs) == [4, 5, 5, 9]
    assert {run["chain_id"] for run in runs} == {UUID(parent)}


async def test_chain_id_alone_joins_that_chain(station: Station) -> None:
    chain_id = uuid4()
    async with station.scheduler():
        for depth in (2, 3):
            await station.ask(headers={"depth": depth, "chain-id": str(chain_id)})
    assert {(run["chain_id"], run["parent_run_id"]) for run in await station.runs()} == {(chain_id, None)}
    assert await station.fetchval("SELECT runs FROM penstock.chains WHERE id = $1", chain_id) == 2


async def test_same_message_id_or_key_makes_one_run_and_another_body_is_refused(station: Station) -> None:
    async with station.scheduler():
        first = await station.ask(message_id="order-42")
        again = await station.ask(message_id="order-42")
        by_header = await station.ask(message_id="another", headers={"idempotency-key": "order-42"})
        other = await station.ask(message_id="order-42", parameters={"name": "somebody else"})
        await station.dead.receive()
    assert again == by_header == {**first, "duplicate": True}
    assert (other["status"], other["code"]) == (422, "idempotency_conflict")
    assert len(await station.runs()) == 1


async def test_key_of_a_child_makes_one_run_of_a_derived_id_and_another_body_is_refused(station: Station) -> None:
    async with station.scheduler():
        parent = str((await station.ask())["run_id"])
        first = await station.ask(message_id="k", headers={"parent-run-id": parent})
        again = await station.ask(message_id="k", headers={"parent-run-id": parent})
        other = await station.ask(message_id="k", headers={"parent-run-id": parent}, parameters={"name": "b"})
    assert first["run_id"] == again["run_id"] == str(child_run_id(UUID(parent), "message:k"))
    assert (again["duplicate"], other["status"]) == (True, 422)


async def test_key_of_a_list_makes_one_list_and_another_body_is_refused(station: Station) -> None:
    async with station.scheduler():
        parent = str((await station.ask())["run_id"])
        for headers in ({}, {"parent-run-id": parent}):
            given = {"message_id": f"list {len(headers)}", "headers": headers, "parameters": {"urgency": 1}}
            first = await station.ask(**given, list={"items": ["a"]})
            again = await station.ask(**given, list={"items": ["a"]})
            other = await station.ask(**given, list={"items": ["b"]})
            assert (again["list_id"], again["duplicate"]) == (first["list_id"], True)
            assert (other["status"], other["code"]) == (422, "idempotency_conflict")
    assert await station.fetchval("SELECT count(*) FROM penstock.lists") == 2


async def test_message_without_any_key_always_makes_a_run(station: Station) -> None:
    async with station.scheduler():
        answers = [await station.ask(message_id="") for _ in range(3)]
    assert len({str(answer["run_id"]) for answer in answers}) == 3


async def test_two_hundred_copies_at_once_make_one_run(station: Station) -> None:
    async with station.scheduler(), station.scheduler():
        sent = await asyncio.gather(*(station.publish(message_id="the same") for _ in range(200)))
        answers = [orjson.loads((await station.answer_to(correlation_id)).body) for correlation_id in sent]
    (run,) = await station.runs()
    assert {answer["run_id"] for answer in answers} == {str(run["id"])}
    assert sorted(answer["duplicate"] for answer in answers) == [False] + [True] * 199


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"raw": b"{not json"}, "JSON"),
        ({"raw": b"\xff\xfe"}, "body"),
        ({"body": {"environment": ENVIRONMENT}}, "workflow"),
        ({"workflow": "notfy"}, "did you mean 'notify'"),
        ({"environment": "staging"}, "development, live"),
        ({"parameters": {}}, "Missing parameter"),
        ({"parameters": {"name": "a", "nam": 1}}, "did you mean 'name'"),
        ({"parameters": {"name": "\x00"}}, "cannot be stored"),
        ({"at": "2030-01-01T00:00:00"}, "zone"),
        ({"after": "soon"}, "not a duration"),
        ({"after": "-5s"}, "not a duration"),
        ({"after": f"{'9' * 400}d"}, "longer than 100 years"),
        ({"after": 5}, "after"),
        ({"at": "infinity"}, "at: "),
        ({"at": "-infinity"}, "at: "),
        ({"at": 1_700_000_000}, "at: "),
        ({"at": "9999-12-31T23:59:59-12:00"}, "not between the years 1 and 9999 in UTC"),
        ({"at": "0001-01-01T00:00:00+14:00"}, "not between the years 1 and 9999 in UTC"),
        ({"at": "10000-01-01T00:00:00Z"}, "at: "),
        ({"aftr": "10m"}, "aftr: this key is not known; did you mean 'after'?"),
        ({"bogus": 1}, "bogus: this key is not known; the keys are workflow, environment"),
        ({"list": {"items": [], "intervall": "1s"}}, "list.intervall: this key is not known; did you mean 'interval'?"),
        ({"raw": b'{"workflow": "notify", "environment": "live", "parameters": ' + b"[" * 100_000}, "body"),
        ({"raw": b'{"workflow": "notify", "environment": "live", "parameters": {"name": "caf\xe9"}}'}, "body"),
        ({"headers": {"traceparent": b"\xff", "depth": b"\xff"}}, "header depth"),
        ({"message_id": "nul\x00"}, "header idempotency-key"),
        ({"priority": 10}, "priority"),
        ({"headers": {"depth": "3"}}, "header depth: '3'"),
        ({"headers": {"depth": True}}, "header depth"),
        ({"headers": {"depth": -1}}, "header depth"),
        ({"headers": {"depth": 1.0}}, "header depth"),
        ({"headers": {"parent-run-id": "nonsense"}}, "header parent-run-id"),
        ({"headers": {"parent-run-id": "00000000-0000-8000-8000-000000000000"}}, "not a run of this installation"),
        ({"headers": {"chain-id": 5}}, "header chain-id"),
        ({"headers": {"idempotency-key": 5}}, "header idempotency-key"),
        ({"message_type": "order.created"}, "order.created"),
        ({"list": {"items": [{}, 5]}}, "list.items.1"),
    ],
)
async def test_malformed_message_is_dead_lettered_with_its_reason_and_answered(
    database: Database, inprocess: Broker, given: dict[str, object], reason: str
) -> None:
    station = Station(database, inprocess)
    await station.open()
    if given.get("list"):
        given = {**given, "workflow": "tidy", "parameters": {}}
    async with station.scheduler():
        reply = await station.answer_to(await station.publish(**given))
        (dead,) = await station.dead.receive()
    assert reason in str(dead.headers["reason"])
    problem = orjson.loads(reply.body)
    assert (reply.content_type, problem["detail"]) == ("application/problem+json", dead.headers["reason"])
    assert 400 <= problem["status"] < 500
    assert await station.runs() == []


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00-14:00", "1969-07-20T20:17:40Z"])
async def test_a_time_in_the_past_means_now(station: Station, at: str) -> None:
    async with station.scheduler():
        assert (await station.ask(at=at))["state"] == "queued"
        await station.executor.receive()
    (run,) = await station.runs()
    assert run["scheduled_at"].year <= 1969


async def test_one_bad_message_among_many_leaves_the_others_alone(station: Station) -> None:
    async with station.scheduler():
        for number in range(50):
            await station.publish(parameters={"name": "\x00" if number == 25 else f"{number}"}, asks=False)
        await eventually(lambda: _has(station, 49))
        await station.dead.receive()
    assert len(station.dead.messages) == 1


async def _has(station: Station, count: int) -> bool:
    return len(await station.runs()) == count


async def test_definition_deployed_after_the_first_message_is_found(station: Station) -> None:
    async with station.scheduler():
        await station.ask()
        await station.deploy(WORKFLOWS.replace("workflow: tidy", "workflow: brand_new"))
        assert (await station.ask(workflow="brand_new", parameters={}))["state"] == "queued"
        assert (await station.ask(workflow="tidy", parameters={}))["code"] == "unknown_workflow"


async def test_children_are_admitted_once_and_a_bad_one_is_parked_alone(station: Station) -> None:
    publisher = Publisher(station.broker)
    async with station.scheduler():
        parent = UUID(str((await station.ask())["run_id"]))
        children = [
            ChildRun(
                parent_run_id=parent,
                key=f"next/{number}",
                workflow="gone" if number == 1 else "notify",
                parameters={"name": "c"},
            )
            for number in range(3)
        ]
        for _ in range(2):
            await publisher.schedule(ENVIRONMENT, 1, children)
        await station.dead.receive(2)
        await station.executor.receive(2)
        lines = await eventually(lambda: station.fetch("SELECT * FROM penstock.logs WHERE run_id = $1", parent))
    made = {run["id"]: run for run in await station.runs() if run["parent_run_id"] == parent}
    assert set(made) == {child_run_id(parent, "next/0"), child_run_id(parent, "next/2")}
    assert {(run["depth"], run["trigger"], run["state"]) for run in made.values()} == {(1, "run", "queued")}
    parked = ScheduleChildren.decode(station.dead.messages[0].body)
    assert [child.key for child in parked.runs] == ["next/1"]
    assert "gone" in cast("str", station.dead.messages[0].headers["reason"])
    assert lines[0]["event"] == "error occurred during workflow execution"


async def test_a_big_message_is_not_even_decoded_before_its_turn(station: Station) -> None:
    room = station.furnish()
    big = Message(b"[" * (BIG_BYTES + 1), message_id="big")
    async with AsyncExitStack() as turns:
        for _ in range(BIG_MESSAGES):
            await turns.enter_async_context(room.big_messages)
        handling = asyncio.create_task(schedule_run(room, big))
        with pytest.raises(DecodeError):  # a small one is refused at once
            await schedule_run(room, Message(b"[", message_id="small"))
        assert not (await asyncio.wait({handling}, timeout=0.1))[0]
    with pytest.raises(DecodeError):
        await handling
