"""What the ingress decides without I/O: environments, headers, bodies, deliveries, parameters, answers, searches."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from pydantic import JsonValue

from penstock.contracts.messages import RunAnswer
from penstock.definitions.models import ApiTrigger, App, FieldType, Parameter, Pick, Source, WebhookTrigger, Workflow
from penstock.domain.ids import new_run_id
from penstock.domain.states import RunState
from penstock_ingress.accepting.access import AdminTokens
from penstock_ingress.rules.answers import reply_for
from penstock_ingress.rules.bodies import Undecodable, parse_form, parse_json, parse_multipart, without_nul
from penstock_ingress.rules.deliveries import SourcePlan, decode_payload, resolve_secret
from penstock_ingress.rules.environments import split_path
from penstock_ingress.rules.headers import (
    Preference,
    read_idempotency_key,
    read_preference,
    read_token,
    storable_headers,
    storable_text,
)
from penstock_ingress.rules.parameters import read_parameters
from penstock_ingress.rules.replies import Refusal, Reply
from penstock_ingress.rules.searches import read_search

TRIGGER = ApiTrigger()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/1.1/wf/x", ("live", "", ("api", "1.1", "wf", "x"))),
        ("/version-live/api/1.1/wf/x", ("live", "/version-live", ("api", "1.1", "wf", "x"))),
        ("/version-test/api/1.1/wf/x", ("development", "/version-test", ("api", "1.1", "wf", "x"))),
        ("/version-54b2k//webhooks///s/", ("development", "/version-54b2k", ("webhooks", "s"))),
        ("//api//1.1/wf/x", ("live", "", ("api", "1.1", "wf", "x"))),
        ("/version-/webhooks/s", ("live", "", ("version-", "webhooks", "s"))),
        ("/", ("live", "", ())),
    ],
)
def test_the_prefix_says_which_environment(path: str, expected: tuple[str, str, tuple[str, ...]]) -> None:
    assert split_path(path) == expected


@pytest.mark.parametrize(
    ("header", "api_token", "expected"),
    [
        (None, None, None),
        ("Bearer abc", None, "abc"),
        ("bearer  abc ", "other", "abc"),
        (None, "abc", "abc"),
        ("Basic dXNlcg==", None, "Basic dXNlcg=="),
        ("Bearer", None, ""),
    ],
)
def test_the_token_stands_in_the_header_or_else_in_the_query(
    header: str | None, api_token: str | None, expected: str | None
) -> None:
    assert read_token(header, api_token) == expected


def test_without_a_configured_token_nobody_is_an_admin() -> None:
    assert not AdminTokens(None).is_admin("")
    with pytest.raises(Refusal):
        AdminTokens(None).identify("")


@pytest.mark.parametrize(
    ("text", "expected"),
    [('"8e03-978e"', "8e03-978e"), ("8e03-978e", "8e03-978e"), (r'"a\"b\\c"', r'a"b\c'), ("x" * 255, "x" * 255)],
)
def test_idempotency_keys_are_quoted_or_bare(text: str, expected: str) -> None:
    assert read_idempotency_key([text]) == expected


@pytest.mark.parametrize(
    "values", [[""], ['""'], ["x" * 256], ['"' + "x" * 256 + '"'], ["a b"], ['"a'], ["é"], ["a", "a"], ['"a\\n"']]
)
def test_other_idempotency_keys_are_refused(values: list[str]) -> None:
    assert refused(lambda: read_idempotency_key(values)).status == 400


def test_no_idempotency_key_is_none() -> None:
    assert read_idempotency_key([]) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Preference()),
        (["respond-async"], Preference(is_async=True)),
        (["respond-async, wait=10"], Preference(is_async=True, wait_seconds=10)),
        (["Wait=5", "handling=lenient"], Preference(wait_seconds=5)),
        (["wait=-1"], Preference()),
        (["wait=soon; respond-async"], Preference()),
        (['wait="7"'], Preference(wait_seconds=7)),
    ],
)
def test_what_is_understood_of_prefer(values: list[str], expected: Preference) -> None:
    assert read_preference(values) == expected


def test_headers_are_kept_in_lower_case_without_credentials_and_without_what_cannot_be_stored() -> None:
    headers = CIMultiDict(
        [("X-A", "1"), ("x-a", "2"), ("Authorization", "Bearer s"), ("Cookie", "c"), ("X-Raw", "a\x00\udcffb")]
    )
    assert storable_headers(headers) == {"x-a": "1, 2", "x-raw": "a��b"}


@given(st.text())
def test_any_header_can_be_stored(text: str) -> None:
    storable = storable_text(text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape"))
    assert "\x00" not in storable
    storable.encode()


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nope", b"\xff", b'{"a":1,}', b"[" * 65 + b"]" * 65, b'{"a":' * 65 + b"1" + b"}" * 65, b"1e400"],
)
def test_what_is_no_json_or_too_deep_is_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable):
        parse_json(body)


def test_wide_json_is_no_deep_json() -> None:
    assert parse_json(b"[" + b",".join([b"[]"] * 500) + b"]") == [[]] * 500
    assert parse_json(b"[" * 64 + b"]" * 64) is not None


def test_nul_becomes_a_replacement_character() -> None:
    body = b'{"a\\u0000": ["x\\u0000", 1, null]}'
    assert without_nul(parse_json(body), body) == {"a�": ["x�", 1, None]}


def test_a_field_that_occurs_several_times_is_a_list() -> None:
    assert parse_form("a=1&b=&a=2&c=%C3%A9+x") == {"a": ["1", "2"], "b": "", "c": "é x"}
    for wrong in ("a=%ff", "&".join(f"a{number}=1" for number in range(1001))):
        with pytest.raises(Undecodable):
            parse_form(wrong)


def multipart(*fields: tuple[str, str, bytes]) -> bytes:
    """name, further parameters of its disposition, content."""
    parts = [
        b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (n.encode(), m.encode(), c)
        for n, m, c in fields
    ]
    return b"".join(parts) + b"--b--\r\n"


def test_fields_of_a_multipart_form_are_texts() -> None:
    content_type = "multipart/form-data; boundary=b"
    assert parse_multipart(multipart(("a", "", b"1"), ("b", "", "é\r\nx".encode())), content_type) == {
        "a": "1",
        "b": "é\r\nx",
    }
    for wrong in (multipart(("a", '; filename="x.png"', b"1")), multipart(("a", "", b"\xff")), b"nothing"):
        with pytest.raises(Undecodable):
            parse_multipart(wrong, content_type)
    with pytest.raises(Undecodable):
        parse_multipart(multipart(("a", "", b"1")), "multipart/form-data")


@given(st.binary(max_size=300))
def test_no_multipart_body_whatever_breaks_the_parser(body: bytes) -> None:
    try:
        fields = parse_multipart(b"--b\r\n" + body + b"\r\n--b--\r\n", "multipart/form-data; boundary=b")
    except Undecodable:
        return
    assert isinstance(fields, dict)


def refused(attempt: object) -> Reply:
    assert callable(attempt)
    with pytest.raises(Refusal) as caught:
        attempt()
    return caught.value.reply


def build_workflow() -> Workflow:
    return Workflow(
        name="greet",
        parameters=(
            Parameter(name="name", type=FieldType("text")),
            Parameter(name="times", type=FieldType("number"), is_optional=True, default=1),
            Parameter(name="tags", type=FieldType("text", is_list=True), is_optional=True),
        ),
    )


def parameters(
    query: dict[str, JsonValue], body: bytes = b"", content_type: str = "application/json"
) -> dict[str, JsonValue]:
    return read_parameters(build_workflow(), App(name="a"), query, body, content_type)


def test_parameters_come_from_json_form_multipart_and_query_each_in_its_own_way() -> None:
    expected = {"name": "Ada", "times": 2, "tags": ["x", "y"]}
    assert parameters({}, b'{"name": "Ada", "times": 2, "tags": ["x", "y"], "unknown": 1}') == expected
    assert (
        parameters({}, b"name=Ada&times=2&tags=x&tags=y", "application/x-www-form-urlencoded; charset=utf-8")
        == expected
    )
    assert parameters({"name": "Ada", "times": "2", "tags": ["x", "y"]}) == expected
    assert parameters({"times": "2", "name": "Bob", "tags": "x, y"}, b'{"name": "Ada"}') == expected
    form = multipart(("name", "", b"Ada"), ("times", "", b"2"), ("tags", "", b'["x", "y"]'))
    assert parameters({}, form, "multipart/form-data; boundary=b") == expected


def test_of_a_scalar_that_is_given_several_times_the_last_counts() -> None:
    assert parameters({"name": ["Ada", "Bob"]})["name"] == "Bob"


@pytest.mark.parametrize(
    ("query", "body", "content_type", "code", "message"),
    [
        ({}, b"", "", "MISSING_DATA", "Missing parameter for workflow greet: parameter name"),
        (
            {"name": "a"},
            b'{"times": "2"}',
            "application/json",
            "INVALID_DATA",
            "Invalid value for parameter times: expected a number",
        ),
        (
            {"name": "a", "times": "many"},
            b"",
            "",
            "INVALID_DATA",
            "Invalid value for parameter times: expected a number",
        ),
        ({}, b"[1]", "application/json", "INVALID_DATA", "the body has to be a JSON object"),
        ({}, b"{", "application/json", "INVALID_DATA", "the body is not JSON"),
        ({}, b"name=%ff", "application/x-www-form-urlencoded", "INVALID_DATA", "the form cannot be read"),
    ],
)
def test_what_is_wrong_with_parameters_is_said_in_the_wrapped_envelope(
    query: dict[str, JsonValue], body: bytes, content_type: str, code: str, message: str
) -> None:
    reply = refused(lambda: parameters(query, body, content_type))
    document = json.loads(reply.body)
    assert (reply.status, document["statusCode"], document["body"]["status"]) == (400, 400, code)
    assert document["body"]["message"].startswith(message)


def test_other_content_types_are_not_supported() -> None:
    assert refused(lambda: parameters({}, b"<x/>", "text/xml")).status == 415
    assert parameters({"name": "x"}, b"", "text/xml")["name"] == "x"


def build_plan(source: Source, *types: str, secrets: dict[str, str] | None = None) -> SourcePlan:
    workflow = Workflow(name="w", webhooks=(WebhookTrigger(source=source.name, types=types or ("*",)),))
    return SourcePlan(source, App(name="a", sources={source.name: source}, workflows={"w": workflow}), secrets or {})


STRIPE = Source(name="s", scheme="stripe", secrets=("${secrets.S}",))
NO_HEADERS: CIMultiDict[str] = CIMultiDict()


@pytest.mark.parametrize(
    ("types", "kind", "is_wanted"),
    [
        (("invoice.paid",), "invoice.paid", True),
        (("invoice.paid",), "invoice.paid.twice", False),
        (("invoice.paid",), "invoiceXpaid", False),
        (("customer.*",), "customer.created", True),
        (("customer.*",), "customers", False),
        (("*.created", "x"), "a.b.created", True),
        (("x",), None, False),
        (("*",), None, True),
    ],
)
def test_types_match_with_stars(types: tuple[str, ...], kind: str | None, is_wanted: bool) -> None:
    assert bool(build_plan(STRIPE, *types).workflows_for(kind)) is is_wanted


def test_type_and_key_of_a_delivery_depend_on_the_scheme() -> None:
    payload: JsonValue = {"id": "evt_1", "type": "a.b", "data": {"id": 7, "kind": {"name": "k"}}}
    stripe = build_plan(STRIPE)
    assert (stripe.type_of(NO_HEADERS, payload), stripe.key_of(NO_HEADERS, payload, b"")) == ("a.b", "evt_1")
    github = build_plan(Source(name="g", scheme="github", secrets=("x",)))
    headers = CIMultiDict({"x-github-event": "push", "X-GitHub-Delivery": "72d3162e"})
    assert (github.type_of(headers, payload), github.key_of(headers, payload, b"")) == ("push", "72d3162e")
    picks = {"type": Pick(payload="data.kind.name"), "deduplicate": Pick(payload="data.id")}
    partner = build_plan(Source(name="p", scheme="hmac", secrets=("x",), header="X", **picks))
    assert (partner.type_of(headers, payload), partner.key_of(headers, payload, b"")) == ("k", "7")


def test_a_delivery_without_a_key_of_its_own_is_known_by_its_body() -> None:
    plan = build_plan(STRIPE)
    payloads: list[JsonValue] = [[], {}, {"id": None}, {"id": ""}, {"id": {"a": 1}}, "x"]
    for payload in payloads:
        assert plan.key_of(NO_HEADERS, payload, b"x").startswith("sha256:")
    assert plan.key_of(NO_HEADERS, {}, b"x") != plan.key_of(NO_HEADERS, {}, b"y")
    assert len(plan.key_of(NO_HEADERS, {"id": "x" * 5000}, b"")) < 100


def test_payloads_are_json_or_forms() -> None:
    assert decode_payload(b'{"a": 1}', "application/json; charset=utf-8") == {"a": 1}
    assert decode_payload(b'{"a": 1}', "application/cloudevents+json") == {"a": 1}
    assert decode_payload(b"payload=%7B%7D&n=%00", "application/x-www-form-urlencoded") == {"payload": "{}", "n": "�"}
    for content_type in ("text/xml", "multipart/form-data; boundary=b"):
        with pytest.raises(Undecodable):
            decode_payload(b"<a/>", content_type)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("${secrets.A}", "alpha"),
        ("whsec_${secrets.A}", "whsec_alpha"),
        ("${secrets.B}", None),
        ("whsec_${secrets.B}", None),
        ("${secrets.EMPTY}", None),
        ("${secrets.B ?? secrets.A}", "alpha"),
    ],
)
def test_a_secret_that_is_not_set_is_missing_as_a_whole(text: str, expected: str | None) -> None:
    assert resolve_secret(text, {"A": "alpha", "EMPTY": ""}) == expected


def test_a_source_knows_which_of_its_secrets_are_missing() -> None:
    source = Source(name="s", scheme="stripe", secrets=("${secrets.S}", "${secrets.OLD}"))
    assert build_plan(source).has_secret is False
    plan = build_plan(source, secrets={"S": "x"})
    assert (plan.has_secret, plan.missing) == (True, ("${secrets.OLD}",))


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
