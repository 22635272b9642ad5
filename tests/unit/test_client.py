"""The client without a network: webhooks it verifies, pauses it makes, arguments it refuses, what its import costs."""

import base64
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from penstock import Client, verify_webhook
from penstock.client import WebhookRefused
from penstock.client.retries import MAX_PAUSE_SECONDS, pause_before_look, pause_before_retry, read_retry_after
from penstock.outgoing.signing import signed_headers

KEY, OTHER_KEY = b"0123456789abcdef0123456789abcdef", b"fedcba9876543210fedcba9876543210"
SECRET, OTHER_SECRET = (f"whsec_{base64.b64encode(key).decode()}" for key in (KEY, OTHER_KEY))
MOMENT = 1_700_000_000
BODY = '{"type":"order.paid","total":12.50,"who":"Zoë"}'.encode()


@pytest.mark.parametrize("secrets", [SECRET, [SECRET], [OTHER_SECRET, SECRET]])
@pytest.mark.parametrize("keys", [[KEY], [KEY, OTHER_KEY]])
def test_a_webhook_that_was_sent_by_penstock_is_verified(secrets: str | list[str], keys: list[bytes]) -> None:
    headers = {name.title(): value for name, value in signed_headers(keys, "msg_1", MOMENT, BODY).items()}
    payload = verify_webhook(headers, BODY, secrets, now=MOMENT + 299)
    assert payload == {"type": "order.paid", "total": 12.5, "who": "Zoë"}


def test_a_webhook_that_was_changed_replayed_or_signed_by_others_is_refused() -> None:
    good = signed_headers([KEY], "msg_1", MOMENT, BODY)
    cases = [
        (good, BODY + b" ", SECRET, MOMENT, "no signature"),
        (good, BODY, OTHER_SECRET, MOMENT, "no signature"),
        ({**good, "webhook-id": "msg_2"}, BODY, SECRET, MOMENT, "no signature"),
        ({**good, "webhook-timestamp": str(MOMENT + 1)}, BODY, SECRET, MOMENT, "no signature"),
        (good, BODY, SECRET, MOMENT + 301, "five minutes"),
        (good, BODY, SECRET, MOMENT - 301, "five minutes"),
        ({"Content-Type": "application/json"}, BODY, SECRET, MOMENT, "webhook-signature"),
    ]
    for headers, body, secret, now, reason in cases:
        with pytest.raises(WebhookRefused, match=reason):
            verify_webhook(headers, body, [secret], now=now)


@pytest.mark.parametrize("secrets", [[], "", ["whsec_"], ["not base64!"], [SECRET, ""]])
def test_secrets_that_are_none_are_an_error_and_never_verify(secrets: str | list[str]) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        verify_webhook(signed_headers([b""], "msg_1", MOMENT, BODY), BODY, secrets, now=MOMENT)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Fri, 27 Nov 2026 09:00:30 GMT", 30.0),
        ("Fri, 27 Nov 2026 08:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1e400", None),
        ("٣", None),
        ("9" * 400, None),
        (None, None),
    ],
)
def test_a_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert read_retry_after(value, datetime(2026, 11, 27, 9, tzinfo=UTC)) == seconds


def test_pauses_grow_up_to_a_bound_unless_the_other_side_asks() -> None:
    pauses = [pause_before_retry(tries, None, 1.0) for tries in range(1, 2000)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.1, MAX_PAUSE_SECONDS)
    assert 7 <= pause_before_retry(1, 7.0, 0.5) < 8
    looks = [pause_before_look(number) for number in range(2000)]
    assert looks == sorted(looks)
    assert looks[-1] == 2.0


@pytest.mark.parametrize(
    "url", ["", "localhost:8080", "ftp://localhost", "http://", "http://user:pass@host", "http://host/?a=1"]
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="http://localhost:8080"):
        Client(url)


async def test_arguments_that_cannot_be_meant_are_refused_before_anything_is_sent() -> None:
    client = Client("http://localhost:1")
    for key in ("", "Zoë", 'a"b', "a\\b", "a\nb", "x" * 256):
        with pytest.raises(ValueError, match="key"):
            await client.run("echo", key=key)
    with pytest.raises(ValueError, match="zone"):
        await client.schedule("echo", at=datetime(2099, 1, 1, tzinfo=UTC).replace(tzinfo=None))
    with pytest.raises(ValueError, match="environment"):
        Client("http://localhost:1", environment="test")


def test_the_client_is_not_imported_with_the_names_that_apps_are_written_with() -> None:
    code = "import sys; from penstock import App; print([name for name in sys.modules if 'penstock.client' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
