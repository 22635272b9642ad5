"""What the ingress answers: runs in Bubble's envelopes, and searches that are refused."""

import json

import pytest
from pydantic import JsonValue

from penstock.contracts.messages import RunAnswer
from penstock.definitions.models import ApiTrigger
from penstock.domain.ids import new_run_id
from penstock.domain.states import RunState
from penstock_ingress.rules.answers import reply_for
from penstock_ingress.rules.replies import Reply
from penstock_ingress.rules.searches import read_search
from tests.unit.ingress_rules.asking import TRIGGER, refused


def answer(
    state: RunState, *, result: JsonValue = None, error: JsonValue = None, trigger: ApiTrigger = TRIGGER
) -> Reply:
    return reply_for(RunAnswer(run_id=new_run_id(), state=state, result=result, error=error), "greet", trigger)


def test_what_a_workflow_returns_is_the_response() -> None:
    reply = answer(RunState.SUCCEEDED, result={"id": 1})
    assert (reply.status, json.loads(reply.body)) == (200, {"status": "success", "response": {"id": 1}})
    assert json.loads(answer(RunState.SUCCEEDED).body) == {"status": "success", "response": {}}


def test_a_workflow_may_return_text() -> None:
    reply = answer(RunState.SUCCEEDED, result={"text": "<b>é</b>", "content_type": "text/html; charset=utf-8"})
    assert (reply.body.decode(), reply.content_type) == ("<b>é</b>", "text/html; charset=utf-8")
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    for content_type in (None, "text/html\r\nX: y", 7):
        reply = answer(RunState.SUCCEEDED, result={"text": "x", "content_type": content_type})
        assert reply.content_type == "text/plain; charset=utf-8"
    assert json.loads(answer(RunState.SUCCEEDED, result={"text": "x", "more": 1}).body)["response"] == {
        "text": "x",
        "more": 1,
    }


def test_a_workflow_may_redirect_with_its_other_keys_as_the_query() -> None:
    reply = answer(RunState.SUCCEEDED, result={"redirect": "https://example.com/p?a=1", "b": "x y", "n": 2})
    assert (reply.status, reply.headers["Location"]) == (302, "https://example.com/p?a=1&b=x+y&n=2")
    for target in ("javascript:alert(1)", "//evil.example", "nowhere"):
        assert answer(RunState.SUCCEEDED, result={"redirect": target}).status == 500
    assert "\n" not in answer(RunState.SUCCEEDED, result={"redirect": "/a\r\nX: y"}).headers.get("Location", "")


@pytest.mark.parametrize(
    ("state", "error", "status", "message"),
    [
        (RunState.FAILED, {"kind": "failed", "message": "no such order"}, 400, "no such order"),
        (RunState.FAILED, {"kind": "expression", "message": "+ does not take text"}, 500, "+ does not take text"),
        (
            RunState.FAILED,
            {"kind": "internal", "message": "KeyError: 'x'"},
            500,
            "The workflow failed with an internal error",
        ),
        (RunState.FAILED, None, 500, "The workflow failed with an internal error"),
        (
            RunState.TERMINATED,
            {"kind": "chain_stopped", "message": "its chain was stopped"},
            500,
            "its chain was stopped",
        ),
        (RunState.CANCELLED, None, 500, "The workflow greet was cancelled"),
    ],
)
def test_a_run_that_did_not_succeed_is_an_error_in_the_wrapped_envelope(
    state: RunState, error: JsonValue, status: int, message: str
) -> None:
    reply = answer(state, error=error)
    assert (reply.status, json.loads(reply.body)) == (
        status,
        {"statusCode": status, "body": {"status": "ERROR", "message": message}},
    )


@pytest.mark.parametrize("status", [200, 400])
def test_a_condition_that_is_not_met_is_answered_as_the_author_says(status: int) -> None:
    reply = answer(RunState.SKIPPED, trigger=ApiTrigger.model_validate({"when_skipped": status}))
    message = "The condition for the workflow greet is not met. Workflow won't run"
    assert (reply.status, json.loads(reply.body)) == (
        status,
        {"statusCode": status, "body": {"status": "NOT_RUN", "message": message}},
    )


def test_searches_are_bounded() -> None:
    search = read_search({"limit": "1000", "cursor": "5", "descending": "True", "constraints": '[{"key": "a"}]'})
    assert (search.limit, search.cursor, search.is_descending, search.constraints) == (100, 5, True, ({"key": "a"},))
    assert (read_search({}).limit, read_search({"limit": "-1"}).limit, read_search({"cursor": "-3"}).cursor) == (
        100,
        -1,
        0,
    )
    assert read_search({"additional_sort_fields": '[{"sort_field": "a", "descending": "true"}]'}).further_sorts == (
        ("a", True),
    )


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "many"},
        {"cursor": "9" * 30},
        {"constraints": "{}"},
        {"constraints": "["},
        {"constraints": json.dumps([{}] * 101)},
        {"descending": "perhaps"},
        {"additional_sort_fields": "[1]"},
    ],
)
def test_a_search_that_cannot_be_understood_is_refused_in_the_wrapped_envelope(query: dict[str, JsonValue]) -> None:
    reply = refused(lambda: read_search(query))
    assert (reply.status, json.loads(reply.body)["body"]["status"]) == (400, "ERROR")
