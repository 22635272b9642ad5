"""What Python code is given and gives, and whom it calls: parameters, results, secrets, threads, other workflows."""

from pathlib import Path

import pytest
from pydantic import JsonValue

from penstock.errors import Permanent
from penstock.testing import AppUnderTest, open_app
from tests.eventually import eventually
from tests.integration.coded.shop import error_of, probe, said, write_app


async def test_parameters_come_as_their_annotations_say(shared: AppUnderTest) -> None:
    run = await shared.run("typed", {"count": 4, "tags": ["a", "b"], "at": "2030-05-01T00:00:00Z"})
    lines = [{"name": "a", "amount": 1.5}, {"name": "b", "amount": 1.5}]
    assert run.result == {"number": "5", "placed": "2030-05-01T00:00:00.000Z", "lines": lines}
    error = error_of(await shared.run("typed", {"count": 1.5}))
    assert (error["kind"], "'count' does not fit" in error["message"]) == ("parameters", True)
    with pytest.raises(Permanent, match="parameter count"):
        await shared.run("typed", {"count": "many"})


async def test_one_model_holds_all_parameters(shared: AppUnderTest) -> None:
    lines: list[JsonValue] = [{"name": "tea"}, {"name": "milk", "amount": 2}]
    body: dict[str, JsonValue] = {"number": "A-1", "placed": "2026-03-01T12:00:00Z", "lines": lines}
    reply = await shared.post("/api/1.1/wf/order", body)
    assert reply.json() == {
        "status": "success",
        "response": {"number": "A-1", "total": 3.5, "year": 2026, "method": "POST"},
    }
    assert (await shared.post("/api/1.1/wf/order", {"number": "A-1"})).status == 400


async def test_what_a_step_returns_comes_back_as_its_annotation_says(shared: AppUnderTest) -> None:
    assert (await shared.run("remembered_types")).result == {"is_decimal": True, "value": 9.99, "kind": "result"}


@pytest.mark.parametrize(
    ("workflow", "kind", "message"),
    [
        ("forgetful", "not_awaited", "never awaited"),
        ("misplaced", "not_awaited", "write `await`"),
        ("listy", "result", "a workflow returns a mapping"),
        ("exiting", "exception", "sys.exit(3)"),
        ("unset", "secret", "NO_SUCH"),
        ("twice", "step_id", "two steps have the id 'same'"),
        ("itemised", "exception", "item 0 of the list: IndexError: list index out of range"),
    ],
)
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
async def test_mistakes_are_told_in_words_that_help(
    shared: AppUnderTest, workflow: str, kind: str, message: str
) -> None:
    error = error_of(await shared.run(workflow))
    assert (error["kind"], message in error["message"]) == (kind, True), error


@pytest.mark.parametrize(
    ("of", "kind", "message"),
    [
        ("error", "exception", "Unspeakable: <Unspeakable, whose text raises RuntimeError>"),
        ("step", "exception", "Unspeakable: <Unspeakable, whose text raises RuntimeError>"),
        ("permanent", "mine", "<UnspeakablePermanent, whose text raises RuntimeError>"),
    ],
)
async def test_an_error_whose_text_cannot_be_made_ends_the_attempt_as_any_other(
    shared: AppUnderTest, of: str, kind: str, message: str
) -> None:
    run = await shared.run("unspeakable", {"kind": of})
    error = error_of(run)
    assert (error["kind"], error["message"].startswith(message)) == (kind, True), error
    assert run.attempt == 1


async def test_secrets_are_read_by_name_and_not_stored(shared: AppUnderTest) -> None:
    run = await shared.run("secretive")
    assert run.result == {"word": "[secret WORD]", "echo": True}


async def test_stop_ends_the_workflow_well(app: AppUnderTest) -> None:
    run = await app.run("stopping")
    assert (run.state, run.result) == ("succeeded", {"so": "far"})
    assert probe("ENDED") == ["stopping"]


async def test_sync_functions_are_performed_in_threads_that_know_the_run(shared: AppUnderTest) -> None:
    run = await shared.run("in_thread")
    assert isinstance(run.result, dict)
    assert (run.result["thread"], run.result["run"]) == (True, True)
    await eventually(lambda: said(shared, run.id, "from a thread"))


async def test_functions_in_threads_that_wait_for_each_other_need_one_place(tmp_path: Path) -> None:
    async with open_app(write_app(tmp_path), settings={"executor_threads": 1}) as app:
        assert (await app.run("thread_in_thread")).result == {"count": 1}


async def test_actions_are_steps_of_yaml(app: AppUnderTest) -> None:
    run = await app.run("pay", {"amount": 12.5})
    assert run.result == {"note": "none"}
    assert {"charged", "charged/create"} < set(run.steps)
    error = error_of(await app.run("pay", {"amount": -1}))
    assert (error["step"], error["message"].split(" (")[0]) == ("charged", "RuntimeError: nothing to charge")
    assert error["place"].startswith("shop.py:")


async def test_an_action_has_its_steps_timeout(shared: AppUnderTest) -> None:
    assert (await shared.run("pay_slowly")).result == {"kind": "timeout"}


async def test_a_step_that_fails_in_a_group_is_named(shared: AppUnderTest) -> None:
    error = error_of(await shared.run("grouped"))
    assert (error["step"], "'no'" in error["message"]) == ("create_2", True), error


async def test_workflows_trigger_themselves(shared: AppUnderTest) -> None:
    run = await shared.run("over_and_over")
    assert run.result == {
        "depth": 0,
        "inner": {"depth": 1, "inner": {"depth": 2, "inner": {"depth": 3, "inner": None}}},
    }
    assert "trigger/trigger/trigger" in run.steps


async def test_yaml_triggers_python(shared: AppUnderTest) -> None:
    assert (await shared.run("outer")).result == {"number": "2"}


async def test_code_with_a_client_of_its_own_can_say_whose_call_it_makes(app: AppUnderTest) -> None:
    run = await app.run("calling_out")
    assert isinstance(run.result, dict)
    first, second = run.result["first"], run.result["second"]
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first.keys() == {"traceparent", "baggage"}
    assert str(first["traceparent"]).split("-")[1] == str(second["traceparent"]).split("-")[1] == run.chain_id.hex
    assert first["traceparent"] != second["traceparent"]
    assert f".{run.chain_id.hex}.{run.id.hex}.0." in str(first["baggage"])
