"""What an answer of another server means for a step: whether it is asked again, when, and in which words its author is
told.
"""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from multidict import CIMultiDict
from yarl import URL

from penstock.errors import Permanent, Transient
from penstock.outgoing.exchange import Request, Response
from penstock_executor.outside.responses import file_name, is_binary, read_body, refusal, retry_after, to_result

REQUEST = Request("POST", URL("https://user@api.example.com/v1/orders?key=hidden"), CIMultiDict())


def answer(status: int = 200, body: bytes = b"", **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, None)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 599])
def test_what_may_work_later_is_transient(status: int) -> None:
    assert isinstance(refusal(REQUEST, answer(status)), Transient)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 409, 410, 413, 415, 422, 451])
def test_what_needs_a_hand_is_permanent(status: int) -> None:
    assert isinstance(refusal(REQUEST, answer(status)), Permanent)


def test_the_author_is_told_the_beginning_of_what_the_server_said_and_no_secret() -> None:
    told = refusal(
        REQUEST, answer(422, b'{"error": "no such customer"}', content_type="application/problem+json; charset=utf-8")
    )
    assert str(told) == 'POST api.example.com answered with status 422: {"error":"no such customer"}'
    long = refusal(REQUEST, answer(400, b"x" * 100_000))
    assert len(str(long)) < 300


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("Wed, 99 Foo", None),
    ],
)
def test_retry_after_is_seconds(value: str, seconds: float | None) -> None:
    assert retry_after(answer(429, retry_after=value)) == seconds


def test_retry_after_is_a_date_too() -> None:
    later = retry_after(
        answer(503, retry_after=format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True))
    )
    assert later is not None
    assert 80 < later <= 90
    assert retry_after(answer(503, retry_after="Wed, 21 Oct 2015 07:28:00 GMT")) == 0
    assert retry_after(answer(503)) is None


@pytest.mark.parametrize(
    ("body", "kind", "read"),
    [
        (b'{"a": 1}', "application/json", {"a": 1}),
        (b'{"a": 1}', "application/vnd.api+json; charset=utf-8", {"a": 1}),
        (b'{"a": 1}', "text/plain", '{"a": 1}'),
        (b"{broken", "application/json", "{broken"),
        (b'{"a": "\\u0000"}', "application/json", '{"a": "\\u0000"}'),
        (b"a\x00b\xff", "text/plain", "a\ufffdb\ufffd"),
        (b"[" * 2000 + b"]" * 2000, "application/json", "[" * 2000 + "]" * 2000),
        (b"", "application/json", ""),
    ],
)
def test_a_body_is_json_if_it_is_json_that_can_be_stored(body: bytes, kind: str, read: object) -> None:
    assert read_body(answer(body=body, content_type=kind)) == read


@pytest.mark.parametrize(
    ("body", "kind", "binary"),
    [
        (b"%PDF-1.7\x00\xe2", "application/pdf", True),
        (b"\x89PNG\r\n\x1a\n", "image/png", True),
        (b"\xff\xfe", "", True),
        (b"a\x00b", "application/octet-stream", True),
        (b"plain", "application/octet-stream", False),
        (b"<a/>", "image/svg+xml", False),
        (b"caf\xe9", "text/csv", False),
        (b"{\xff}", "application/json; charset=nonsense", False),
        (b"", "image/png", False),
    ],
)
def test_a_body_is_binary_when_decoding_would_destroy_it(body: bytes, kind: str, binary: bool) -> None:
    response = answer(body=body, content_type=kind)
    assert is_binary(response) is binary
    assert (to_result(response)["body"] is None) is binary


def test_a_refusal_does_not_show_binary_content() -> None:
    told = refusal(REQUEST, answer(400, b"\x00" * 5000, content_type="image/png"))
    assert str(told).endswith("answered with status 400: 5000 bytes of image/png")


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="invoice 7.pdf"', "invoice 7.pdf"),
        ("attachment; filename*=UTF-8''caf%C3%A9.pdf", "café.pdf"),
        ("attachment", "orders"),
        ("=; ;", "orders"),
        ("", "orders"),
    ],
)
def test_a_file_is_called_as_the_server_says_or_as_the_url_ends(disposition: str, name: str) -> None:
    assert file_name(REQUEST, answer(content_disposition=disposition)) == name


@pytest.mark.parametrize(
    ("sent", "read"),
    [("caf\udce9", "café"), ("caf\udcc3\udca9", "café"), ("café", "café"), ("plain", "plain"), ("a\x00b", "a�b")],
)
def test_a_header_is_read_as_what_its_bytes_are_and_can_be_stored(sent: str, read: str) -> None:
    assert to_result(Response(200, {"x-word": sent}, b"", None))["headers"] == {"x-word": read}
