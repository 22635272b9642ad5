"""What internal services ask about runs by message: how one is, to cancel it, to send a signal, to hear of its end."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import orjson
import pytest

from penstock.broker.port import Broker
from penstock.contracts.messages import CancelRun, CancelRuns, SendSignal, ShowRun
from penstock.domain.ids import keyed_run_id, new_run_id
from tests.eventually import eventually
from tests.factories import build_run
from tests.integration.scheduler.taking_turns import admit_all
from tests.integration.scheduling import ENVIRONMENT, Station


@pytest.fixture(params=["rabbitmq", "inprocess"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Either broker."""
    either: Broker = request.getfixturevalue(request.param)
    return either


async def ask(station: Station, message_type: str, **body: object) -> dict[str, object]:
    """The answer to a message of that type."""
    given = body.pop("message_id", uuid4().hex)
    content = {"environment": ENVIRONMENT, **body}
    return {**await station.ask(message_type=message_type, message_id=given, body=content)}


async def store(station: Station, run_id: UUID) -> None:
    """Store a run for later."""
    run = build_run(
        run_id=run_id,
        environment=ENVIRONMENT,
        workflow="notify",
        version=1,
        parameters={"name": "a"},
        scheduled_at=datetime(2099, 1, 31, tzinfo=UTC),
    )
    await admit_all(station, [run])


async def test_a_run_is_reported_as_it_is(station: Station) -> None:
    async with station.scheduler():
        started = await station.ask(after="1h")
        answer = await ask(station, ShowRun.TYPE, run_id=started["run_id"])
    assert (answer["run_id"], answer["workflow"], answer["state"]) == (started["run_id"], "notify", "scheduled")
    assert (answer["result"], answer["error"], answer["finished_at"]) == (None, None, None)
    assert str(answer["created_at"]).endswith("Z")


async def test_a_run_is_cancelled_once_and_the_audit_says_by_which_message(station: Station) -> None:
    async with station.scheduler():
        started = await station.ask(after="1h")
        first = await ask(station, CancelRun.TYPE, run_id=started["run_id"], message_id="stop it")
        again = await ask(station, CancelRun.TYPE, run_id=started["run_id"])
        await eventually(lambda: f"{ENVIRONMENT}.run.cancelled" in station.events.routing_keys)
    assert first == {"run_id": started["run_id"], "state": "cancelled", "cancelled": True}
    assert again == {"run_id": started["run_id"], "state": "cancelled", "cancelled": False}
    (act,) = await station.fetch("SELECT * FROM penstock.audit WHERE action = 'run.cancel'")
    assert act["actor"] == "message stop it"


async def test_runs_of_a_key_are_cancelled_and_a_copy_of_the_message_cancels_no_other(station: Station) -> None:
    first, later = keyed_run_id(ENVIRONMENT, "notify", "ada"), new_run_id()
    what = {"workflow": "notify", "key": "ada", "message_id": "stop ada"}
    await store(station, first)
    async with station.scheduler():
        assert await ask(station, CancelRuns.TYPE, **what) == {"cancelled": 1, "is_over": True}
        # Scheduled under the same key since: it was not meant.
        await store(station, later)
        await station.fetch("INSERT INTO penstock.keyed_runs (run_id, first_id) VALUES ($1, $2)", later, first)
        assert await ask(station, CancelRuns.TYPE, **what) == {"cancelled": 1, "is_over": True}
        other = await ask(station, CancelRuns.TYPE, **{**what, "key": "eve"})
        await eventually(lambda: f"{ENVIRONMENT}.run.cancelled" in station.events.routing_keys)
    assert (other["status"], other["code"]) == (422, "idempotency_conflict")
    states = {run["id"]: run["state"] for run in await station.runs()}
    assert states == {first: "cancelled", later: "scheduled"}
    (act,) = await station.fetch("SELECT actor, before, after FROM penstock.audit WHERE action = 'run.cancel'")
    assert (act["actor"], act["before"]) == ("message stop ada", {"workflow": "notify", "key": "ada"})


async def test_a_signal_wakes_those_who_wait_or_is_kept_and_its_copy_does_nothing(station: Station) -> None:
    async with station.scheduler():
        kept = await ask(station, SendSignal.TYPE, name="go", payload={"a": 1}, message_id="one signal")
        copy = await ask(station, SendSignal.TYPE, name="go", payload={"a": 1}, message_id="one signal")
        other = await ask(station, SendSignal.TYPE, name="go", payload={"a": 2}, message_id="one signal")
        odd = await ask(station, SendSignal.TYPE, name="go", payload={"a": "\x00\ud800"[:1]})
    assert kept == {"woken": 0, "kept": True, "duplicate": False}
    assert copy == {"woken": 0, "kept": False, "duplicate": True}
    assert (other["status"], other["code"]) == (422, "idempotency_conflict")
    assert odd["kept"] is True
    payloads = [row["payload"] for row in await station.fetch("SELECT payload FROM penstock.signals ORDER BY id")]
    assert payloads == [{"a": 1}, {"a": "\ufffd"}]


async def test_a_run_that_is_not_there_is_answered_with_404_and_is_no_dead_letter(station: Station) -> None:
    async with station.scheduler():
        for message_type in (ShowRun.TYPE, CancelRun.TYPE):
            answer = await ask(station, message_type, run_id=str(uuid4()))
            assert (answer["status"], answer["code"]) == (404, "unknown_run")
        other = await station.ask(after="1h")
        elsewhere = await station.ask(
            message_type=ShowRun.TYPE, body={"environment": "development", "run_id": other["run_id"]}
        )
    assert elsewhere["status"] == 404
    assert station.dead.messages == []


async def test_a_question_that_cannot_be_answered_is_a_dead_letter(station: Station) -> None:
    async with station.scheduler():
        for given in (
            {"message_type": ShowRun.TYPE, "body": {"environment": "live", "run_id": "17"}},
            {"message_type": ShowRun.TYPE, "body": {"environment": "moon", "run_id": str(uuid4())}},
            {"message_type": CancelRun.TYPE, "body": {"environment": "live"}},
            {"message_type": CancelRuns.TYPE, "body": {"environment": "live", "workflow": "notify", "key": ""}},
            {"message_type": CancelRuns.TYPE, "body": {"environment": "live", "workflow": "\x00", "key": "a"}},
            {"message_type": SendSignal.TYPE, "body": {"environment": "live", "name": ""}},
            {"message_type": SendSignal.TYPE, "body": {"environment": "live", "name": "x" * 201}},
            {"message_type": ShowRun.TYPE, "asks": False, "body": {"environment": "live", "run_id": str(uuid4())}},
        ):
            await station.publish(**given)
        dead = await station.dead.receive(8)
    reasons = sorted(str(message.headers["reason"]).partition(":")[0] for message in dead)
    assert reasons == ["environment", "key", "name", "name", "reply_to", "run_id", "run_id", "workflow"]


async def test_the_end_of_a_run_is_asked_for_by_a_header_and_by_that_alone(station: Station) -> None:
    async with station.scheduler():
        for headers in ({"answer": "result"}, {}, {"answer": "whatever"}, {"answer": 7}):
            await station.ask(headers=headers)
        await station.ask(headers={"answer": "result"}, after="1h")
        messages = await station.executor.receive(4)
    wished = [orjson.loads(message.body)["runs"][0].get("reply_to") for message in messages]
    assert wished == [station.reply_to, None, None, None]
