"""The messages as others rely on them: one golden file each, read and written unchanged, and what is refused says
why.
"""

from pathlib import Path
from uuid import UUID

import orjson
import pytest
from pydantic import BaseModel, JsonValue

from penstock import exact_json
from penstock.contracts.messages import (
    COMMANDS,
    EVENTS,
    FROM_OTHERS,
    ChildRun,
    Contract,
    DueRun,
    ExecuteRuns,
    ListOfRuns,
    RunAnswer,
    ScheduleRun,
    SendSignal,
)
from penstock.domain.states import RunState
from penstock.errors import DecodeError

GOLDEN = Path(__file__).parent / "golden"
MESSAGES = {**COMMANDS, **EVENTS}


def _golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes()


def test_every_message_has_a_golden_file_and_every_golden_file_a_message() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(MESSAGES)


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_golden_message_is_read_and_written_unchanged(name: str) -> None:
    message = MESSAGES[name].decode(_golden(name))
    assert orjson.loads(message.encode()) == orjson.loads(_golden(name))


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_golden_message_shows_every_field(name: str) -> None:
    body = orjson.loads(_golden(name))
    # `after` is the other way to say `at`, and a message may hold only one of them.
    assert set(body) == _field_names(MESSAGES[name]) - ({"after"} if name == ScheduleRun.TYPE else set())


def test_golden_messages_show_every_field_of_what_they_hold() -> None:
    assert set(orjson.loads(_golden(ExecuteRuns.TYPE))["runs"][0]) == _field_names(DueRun)
    assert set(orjson.loads(_golden("runs.schedule.v1"))["runs"][0]) == _field_names(ChildRun)
    assert set(orjson.loads(_golden(ScheduleRun.TYPE))["list"]) == _field_names(ListOfRuns)


@pytest.mark.parametrize("name", sorted(set(MESSAGES) - {model.TYPE for model in FROM_OTHERS}))
def test_a_field_of_a_later_release_is_ignored(name: str) -> None:
    later = orjson.dumps(orjson.loads(_golden(name)) | {"a_field_of_next_year": {"deep": [1]}})
    assert MESSAGES[name].decode(later) == MESSAGES[name].decode(_golden(name))


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_a_message_without_a_required_field_is_refused_with_the_name_of_the_field(name: str) -> None:
    body = orjson.loads(_golden(name))
    for field, info in MESSAGES[name].model_fields.items():
        if info.is_required():
            lacking = orjson.dumps({key: value for key, value in body.items() if key != field})
            with pytest.raises(DecodeError, match=field):
                MESSAGES[name].decode(lacking)


def test_what_is_not_set_is_not_sent() -> None:
    message = ScheduleRun(workflow="a", environment="live")
    assert orjson.loads(message.encode()) == {
        "workflow": "a",
        "environment": "live",
        "parameters": {},
    }


def test_null_inside_parameters_and_results_is_kept() -> None:
    parameters: dict[str, JsonValue] = {"owner": None, "nested": {"list": [None, {"a": None}]}}
    message = ScheduleRun(workflow="a", environment="live", parameters=parameters)
    assert ScheduleRun.decode(message.encode()).parameters == parameters


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "body: Invalid JSON"),
        (b"[]", "body: Input should be an object"),
        (b'{"workflow": "a"}', "environment: Field required"),
        (b'{"workflow": "", "environment": "live"}', "workflow: String should have at least 1 character"),
        (b'{"workflow": 7, "environment": "live"}', "workflow: Input should be a valid string"),
        (b'{"workflow": "a", "environment": "live", "parameters": []}', "parameters: Input should be an object"),
        (
            b'{"workflow": "a", "environment": "live", "priority": 10}',
            "priority: Input should be less than or equal to 9",
        ),
        (b'{"workflow": "a", "environment": "live", "priority": "1"}', "priority: Input should be a valid integer"),
        (
            b'{"workflow": "a", "environment": "live", "at": "2030-01-31T09:00:00"}',
            "at: Value error, a time needs a zone",
        ),
        (b'{"workflow": "a", "environment": "live", "after": "soon"}', "after: Value error, 'soon' is not a duration"),
        (b'{"workflow": "a", "environment": "live", "list": {}}', "list.items: Field required"),
        (
            b'{"workflow": "a", "environment": "live", "list": {"items": [], "interval": "2"}}',
            "list.interval: Value error, '2' is not",
        ),
        (
            b'{"workflow": "a", "environment": "live", "after": "1s", "at": "2030-01-31T09:00:00Z"}',
            "either `at` or `after`, not both",
        ),
    ],
)
def test_a_malformed_schedule_message_is_refused_with_a_reason(body: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as refused:
        ScheduleRun.decode(body)
    assert reason in refused.value.reason
    assert refused.value.raw == body


def test_an_unknown_key_of_what_others_send_is_refused_and_not_ignored() -> None:
    with pytest.raises(DecodeError, match="aftr: this key is not known; did you mean 'after'"):
        ScheduleRun.decode(orjson.dumps({"workflow": "a", "environment": "live", "aftr": "10m"}))


@pytest.mark.parametrize("name", [model.TYPE for model in FROM_OTHERS])
def test_a_message_of_others_is_refused_for_an_unknown_key(name: str) -> None:
    with pytest.raises(DecodeError, match="bogus: this key is not known"):
        MESSAGES[name].decode(orjson.dumps(orjson.loads(_golden(name)) | {"bogus": 1}))


def test_a_signals_name_that_cannot_be_stored_is_refused() -> None:
    with pytest.raises(DecodeError, match="cannot be stored"):
        SendSignal.decode(orjson.dumps({"environment": "live", "name": "a\x00b"}))


def test_an_unknown_state_is_refused() -> None:
    with pytest.raises(DecodeError, match="state"):
        RunAnswer.decode(orjson.dumps(orjson.loads(_golden(RunAnswer.TYPE)) | {"state": "exploded"}))


def _field_names(model: type[Contract] | type[BaseModel]) -> set[str]:
    return {info.alias or name for name, info in model.model_fields.items()}


def test_an_answer_is_written_whatever_an_authors_code_has_returned() -> None:
    number = exact_json.loads(b"0.12345678901234567890123")
    answer = RunAnswer.model_construct(
        run_id=UUID(int=1), state=RunState.SUCCEEDED, result={"half": "bad \ud800", "number": number}
    )
    read = RunAnswer.decode(answer.encode())
    assert read.result == {"half": "bad \ufffd", "number": number}
    assert b"0.12345678901234567890123" in read.encode()
