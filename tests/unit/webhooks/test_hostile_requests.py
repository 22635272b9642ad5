"""Whatever strangers send, a check answers: it never raises, and never lets in what nobody signed."""

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from penstock.bodies import decode_payload
from penstock.webhooks import SignedRequest, Verdict, build_check, find_signed, want
from penstock.webhooks.certificates import is_trusted_url, read_signing_key
from penstock.webhooks.provider_table import PROVIDERS
from tests.integration.webhooks.authorities import make_identity
from tests.unit.webhooks.sources import NOW, load_source, secret_of

NAMES = [
    "Authorization", "Content-Type", "PAYPAL-CERT-URL", "PAYPAL-TRANSMISSION-ID", "PAYPAL-TRANSMISSION-SIG",
    "PAYPAL-TRANSMISSION-TIME", "Stripe-Signature", "X-Hub-Signature", "X-Hub-Signature-256", "X-Signature",
    "X-Slack-Request-Timestamp", "X-Slack-Signature", "X-Signature-Ed25519", "X-Signature-Timestamp",
    "X-Twilio-Signature", "webhook-id", "webhook-signature", "webhook-timestamp",
]  # fmt: skip
ROOT = make_identity("root", is_authority=True)
LEAF = make_identity("leaf", ROOT)
STRANGER = make_identity("stranger", is_authority=True)
WEAK = make_identity("weak", bits=1024)
SCHEMES = [scheme for scheme in PROVIDERS if scheme != "none"]
SOURCES = {scheme: load_source(scheme) for scheme in SCHEMES}
CHECKS = {scheme: build_check(SOURCES[scheme], [secret_of(scheme)]) for scheme in SCHEMES}
TEXTS = st.one_of(
    st.text(max_size=60),
    st.sampled_from(["1700000000", "v1,AAAA", "sha256=00", "t=1700000000,v1=00", "Bearer a.b.c", "Bearer e30.e30.AA"]),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["signature", "timestamp", "token", "value", "clientState", "Type", "Signature", "id"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@example(headers={"webhook-signature": "v1,0", "webhook-id": "."}, body=b"", query="")
@given(
    headers=st.dictionaries(st.sampled_from(NAMES), TEXTS, max_size=8),
    body=st.binary(max_size=80) | VALUES.map(lambda value: json.dumps(value).encode()),
    query=st.text(max_size=20),
)
def test_no_request_whatever_raises_or_gets_in(headers: dict[str, str], body: bytes, query: str) -> None:
    request = SignedRequest("POST", "/", CIMultiDict(headers), body, query, decode_payload)
    for scheme, check in CHECKS.items():
        assert check(request, NOW) is not Verdict.GENUINE, scheme
        want(SOURCES[scheme], request, NOW)
        find_signed(SOURCES[scheme], request, ["x"])


BAD = [b"", b"nothing", ROOT.pem * 20, LEAF.pem + STRANGER.pem, WEAK.pem, b"\xff" * 100]


@pytest.mark.parametrize("pem", BAD, ids=range(6))
def test_a_certificate_that_is_not_good_is_refused(pem: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_signing_key(pem, None, time.time())


def test_a_certificate_of_a_trusted_host_vouches_for_itself_while_it_is_valid() -> None:
    key, ends_at = read_signing_key(LEAF.pem, None, time.time())
    assert key.public_numbers() == LEAF.key.public_key().public_numbers()
    assert read_signing_key(LEAF.pem + ROOT.pem, None, time.time())[1] == ends_at
    for at in (ends_at + 1, ends_at - 1e8):
        with pytest.raises(ValueError, match="not valid now"):
            read_signing_key(LEAF.pem, None, at)


@pytest.mark.parametrize(
    ("url", "is_trusted"),
    [
        ("https://sns.eu-west-1.amazonaws.com/a.pem", True),
        ("https://SNS.eu-west-1.amazonaws.com:443/a.pem", True),
        ("https://sns.eu-west-1.amazonaws.com:8443/a.pem", False),
        ("http://sns.eu-west-1.amazonaws.com/a.pem", False),
        ("https://sns.eu-west-1.amazonaws.com.evil.example/a.pem", False),
        ("https://sns.a.b.amazonaws.com/a.pem", False),
        ("https://sns..amazonaws.com/a.pem", False),
        ("https://sns.s3.amazonaws.com/a.pem", False),
        ("https://sns.S3-us-west-2.amazonaws.com/a.pem", False),
        ("https://evil.example/sns.eu-west-1.amazonaws.com/a.pem", False),
        ("https://sns.eu-west-1.amazonaws.com@evil.example/a.pem", False),
        ("https://evil.example#sns.eu-west-1.amazonaws.com", False),
        ("https://sns.eu-west-1.amazonaws.com\\@evil.example/", False),
        ("https://sns.eu-west-1.amazonaws.com\n/a.pem", False),
        ("https://sns.eu-west-1.amazonaws.com:99999/a.pem", False),
        ("https://[::1]/a.pem", False),
        (None, False),
        (["https://sns.eu-west-1.amazonaws.com/a.pem"], False),
    ],
)
def test_only_hosts_of_the_provider_are_asked(url: object, is_trusted: bool) -> None:
    assert is_trusted_url(url, ["sns.*.amazonaws.com:443"]) is is_trusted
