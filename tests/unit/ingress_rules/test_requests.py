"""What the ingress reads from a request: environment, token, keys, headers, bodies and parameters."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from pydantic import JsonValue

from penstock.bodies import Undecodable, parse_json, without_nul
from penstock.bodies.forms import parse_form
from penstock.bodies.multipart import parse_multipart
from penstock.definitions.models import App, FieldType, Parameter, Workflow
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
from penstock_ingress.rules.uploads import Uploads
from tests.unit.ingress_rules.asking import refused


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
    ],
)
def test_the_token_stands_in_the_header_or_else_in_the_query(
    header: str | None, api_token: str | None, expected: str | None
) -> None:
    assert read_token(header, api_token) == expected


@pytest.mark.parametrize("header", ["Basic dXNlcg==", "Bearer", "Bearer ", "integration-admin-token-0123456789", ""])
def test_a_header_without_bearer_and_a_token_is_refused_whatever_else_is_given(header: str) -> None:
    with pytest.raises(ValueError, match="has to read `Bearer` and a token"):
        read_token(header, "abc")


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
    return read_parameters(build_workflow(), App(name="a"), query, body, content_type, Uploads("//here"))


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
