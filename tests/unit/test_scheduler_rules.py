"""The scheduler's pure decisions: how messages are read, what items mean, when to rest, and what the admins are
told.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from pydantic import JsonValue

from penstock.contracts.envelope import Message
from penstock.contracts.messages import ListOfRuns, ScheduleRun
from penstock.definitions.models import FieldType, Parameter, Workflow
from penstock.domain.lineage import Lineage
from penstock.domain.runs import Rejected
from penstock.errors import DecodeError
from penstock_scheduler import rules

NOW = datetime(2030, 1, 1, tzinfo=UTC)
RUN_ID = UUID("01890000-0000-8000-8000-000000000001")
TEXT = FieldType("text")


def test_message_without_lineage_headers_makes_roots() -> None:
    assert rules.read_lineage({}) == Lineage(0, None, None)


def test_lineage_headers_are_read() -> None:
    headers = {"depth": 3, "chain-id": str(RUN_ID), "parent-run-id": str(RUN_ID)}
    assert rules.read_lineage(headers) == Lineage(3, RUN_ID, RUN_ID)


@pytest.mark.parametrize("value", [True, False, -1, 1.0, "3", None, 1_000_001, b"1", [1]])
def test_depth_header_that_is_no_whole_number_is_refused(value: object) -> None:
    with pytest.raises(DecodeError, match="header depth"):
        rules.read_lineage({"depth": value})


@pytest.mark.parametrize("name", ["chain-id", "parent-run-id"])
@pytest.mark.parametrize("value", ["nonsense", 5, b"x", "", ["a"]])
def test_header_that_is_no_id_is_refused(name: str, value: object) -> None:
    with pytest.raises(DecodeError, match=f"header {name}"):
        rules.read_lineage({name: value})


def test_key_header_stands_before_the_message_id() -> None:
    assert rules.read_key(Message(b"{}", message_id="m", headers={"idempotency-key": "h"})) == "h"
    assert rules.read_key(Message(b"{}", message_id="m")) == "m"
    assert rules.read_key(Message(b"{}")) is None


@pytest.mark.parametrize("key", [5, b"k", "k" * 501, "a\x00b"])
def test_key_that_is_no_short_text_is_refused(key: object) -> None:
    with pytest.raises(DecodeError, match="idempotency-key"):
        rules.read_key(Message(b"{}", headers={"idempotency-key": key}))


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, None), ({"after": "0s"}, None), ({"after": "10m"}, timedelta(minutes=10)), ({"at": NOW}, NOW)],
)
def test_due_time_is_that_of_at_or_after(given: dict[str, object], expected: datetime | timedelta | None) -> None:
    message = ScheduleRun.model_validate({"workflow": "w", "environment": "live", **given})
    assert rules.due_at(message) == expected


def test_interval_that_leads_beyond_the_end_of_time_is_refused() -> None:
    message = ScheduleRun(workflow="w", environment="live", list=ListOfRuns(items=[1] * 1000, interval="36500d"))
    with pytest.raises(DecodeError, match=r"list\.interval"):
        rules.interval_seconds(message, NOW)


@pytest.mark.parametrize(
    ("common", "item", "expected"),
    [
        ({"a": 1, "b": 2}, {"b": 3}, {"a": 1, "b": 3}),
        ({"a": 1}, 7, {"a": 1, "b": 7}),
        ({"a": 1}, None, {"a": 1, "b": None}),
        ({"a": 1}, [1], {"a": 1, "b": [1]}),
    ],
)
def test_item_is_merged_over_the_common_parameters(
    common: dict[str, JsonValue], item: JsonValue, expected: JsonValue
) -> None:
    workflow = Workflow(name="w", parameters=(Parameter(name="a", type=TEXT), Parameter(name="b", type=TEXT)))
    assert rules.item_parameters(common, item, rules.open_parameter(workflow, common)) == expected


@pytest.mark.parametrize("common", [{}, {"a": 1, "b": 2}])
def test_bare_item_needs_exactly_one_parameter_left_open(common: dict[str, JsonValue]) -> None:
    workflow = Workflow(name="w", parameters=(Parameter(name="a", type=TEXT), Parameter(name="b", type=TEXT)))
    with pytest.raises(ValueError, match="not exactly one parameter"):
        rules.item_parameters(common, 5, rules.open_parameter(workflow, common))


@pytest.mark.parametrize(
    ("code", "status"),
    [("malformed", 400), ("unknown_workflow", 404), ("idempotency_conflict", 422), ("something new", 400)],
)
def test_refusal_is_a_problem_document(code: str, status: int) -> None:
    problem = rules.describe_problem(Rejected(code, "why", "name"))
    assert (problem["status"], problem["detail"], problem["code"], problem["parameter"]) == (
        status,
        "why",
        code,
        "name",
    )


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 30), (2, 60), (3, 120), (8, 3600), (1000, 3600)])
def test_refused_mail_is_tried_again_later_and_later(attempts: int, seconds: int) -> None:
    assert rules.mail_backoff(attempts) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("did_work", "is_full", "next_due", "rest"),
    [
        (True, True, None, 0.0),
        (False, False, None, 30.0),
        (True, False, 0.3, 0.3),
        (False, False, 60.0, 30.0),
        (True, False, -0.1, 0.008),
        (False, False, 0.0001, 0.008),
        (False, False, -5.0, 0.02),
    ],
)
def test_dispatching_rests_until_the_next_run_is_due(
    did_work: bool, is_full: bool, next_due: float | None, rest: float
) -> None:
    assert rules.next_wait(did_work=did_work, is_full=is_full, next_due_seconds=next_due) == rest
