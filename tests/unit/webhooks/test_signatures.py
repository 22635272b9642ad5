"""Webhook signatures: vectors checked with the providers' own libraries, and everything that must not be let in."""

import hashlib
import hmac
import time
from base64 import b64encode

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from penstock.definitions.sources import Pick, Source, SourceTimestamp
from penstock.webhooks import SignedRequest, Verdict, build_check

SECRET = "test_secret_0123456789abcdef"
BODY = (
    '{"id":"evt_1","type":"ping","text":"héllo ☃","webhookTimestamp":1700000000000,"event_id":"sq_1","uuid":"u-1"}'
).encode()
NOW = 1_700_000_000.0
URL = "https://hooks.example.test/in/abc?x=1"
STRIPE_SIGNATURE = "4488969182e8325384cfdeb36d7c02ded69f9a5dcd982ded8c16380f83aca998"
GITHUB_SIGNATURE = "sha256=e8c29e69c5b2f36450c73b44ef2e1a1725dd5f6f25ad63f83cfe4e0231762c2c"
STRIPE = Source(name="stripe", scheme="stripe", secrets=())
GITHUB = Source(name="github", scheme="github", secrets=())


def hmac_source(header: str, signed: str = "{body}", timestamp: str | None = None, **more: object) -> Source:
    fields = {
        "name": "partner",
        "scheme": "hmac",
        "secrets": (),
        "header": header,
        "signed": signed,
        "url": URL,
        **more,
    }
    if timestamp is not None:
        fields["timestamp"] = SourceTimestamp(header=timestamp)
    return Source.model_validate(fields)


def verdict(
    source: Source,
    headers: dict[str, str],
    *,
    body: bytes = BODY,
    now: float = NOW,
    secrets: tuple[str, ...] = (SECRET,),
) -> Verdict:
    request = SignedRequest("POST", "/in/abc", CIMultiDict(headers), body)
    return build_check(source, secrets)(request, now)


def stripe_header(*signatures: str, at: int = int(NOW)) -> dict[str, str]:
    return {"Stripe-Signature": ",".join([f"t={at}", *(f"v1={signature}" for signature in signatures)])}


VECTORS = {
    "stripe": (STRIPE, {"Stripe-Signature": f"t=1700000000,v1={'0' * 64},v1={STRIPE_SIGNATURE},v0={'1' * 64}"}, SECRET),
    "github": (GITHUB, {"X-Hub-Signature-256": GITHUB_SIGNATURE}, SECRET),
    "slack": (
        hmac_source("X-Slack-Signature", "v0:{timestamp}:{body}", "X-Slack-Request-Timestamp", prefix="v0="),
        {
            "X-Slack-Signature": "v0=cda2ae0e39b367a2da373241c7ff61e45ca31cddb1819631f32b0ac8702c6bb4",
            "X-Slack-Request-Timestamp": "1700000000",
        },
        SECRET,
    ),
    "shopify": (
        hmac_source("X-Shopify-Hmac-Sha256", encoding="base64"),
        {"X-Shopify-Hmac-Sha256": "6MKeacWy82RQxztE7y4aFyXdX28lrWP4PP5OAjF2LCw="},
        SECRET,
    ),
    "standard webhooks": (
        hmac_source(
            "webhook-signature",
            "{id}.{timestamp}.{body}",
            "webhook-timestamp",
            encoding="base64",
            prefix="v1,",
            deduplicate=Pick(header="webhook-id"),
        ),
        {
            "webhook-id": "msg_1",
            "webhook-timestamp": "1700000000",
            "webhook-signature": "v1,AAAA v1a,BBBB v1,uE3BcYG7BGQGxLUb0i52XtgPTrZNnksPD0QYV1oju0c=",
        },
        "0123456789abcdef0123456789abcdef",
    ),
    "hubspot, milliseconds": (
        hmac_source(
            "X-HubSpot-Signature-v3", "{method}{url}{body}{timestamp}", "X-HubSpot-Request-Timestamp", encoding="base64"
        ),
        {
            "X-HubSpot-Signature-v3": "cCmB9eSnA7Q8FYKkSasIRJBqz3JVdUfWoKhkT4wYeWo=",
            "X-HubSpot-Request-Timestamp": "1700000000000",
        },
        SECRET,
    ),
    "intercom, sha1": (
        hmac_source("X-Hub-Signature", algorithm="sha1", prefix="sha1="),
        {"X-Hub-Signature": "sha1=746c11bf7b741af6aa78cf146c7c11279a7d3e64"},
        SECRET,
    ),
    "zendesk, iso time": (
        hmac_source(
            "X-Zendesk-Webhook-Signature",
            "{timestamp}{body}",
            "X-Zendesk-Webhook-Signature-Timestamp",
            encoding="base64",
        ),
        {
            "X-Zendesk-Webhook-Signature": "F/EkHO25tb6fFDkS19CRUNEiNNMvvyof1kF2P+54JDU=",
            "X-Zendesk-Webhook-Signature-Timestamp": "2023-11-14T22:13:20Z",
        },
        SECRET,
    ),
    "square, configured url": (
        hmac_source("x-square-hmacsha256-signature", "{url}{body}", encoding="base64"),
        {"x-square-hmacsha256-signature": "nQTXv5HBiGo+xnqnjIrjiAl6VJ1/KsLM1m0ajBuXmLI="},
        SECRET,
    ),
    "sha512": (
        hmac_source("X-Sig", algorithm="sha512"),
        {
            "X-Sig": "4b8454102a69bcb8ade8fa65f24236068f13428a50ab902d9227bc832a693023"
            "7cd8538679a507dbd5bde2f64f729be5333694305239aff5b1c5909f948fb388"
        },
        SECRET,
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_what_the_provider_signed_is_genuine_and_every_change_of_it_is_forged(name: str) -> None:
    source, headers, secret = VECTORS[name]
    assert verdict(source, headers, secrets=(secret,)) is Verdict.GENUINE
    assert verdict(source, headers, secrets=(secret,), body=BODY + b" ") is Verdict.FORGED
    assert verdict(source, headers, secrets=("another secret",)) is Verdict.FORGED


def test_stripes_own_library_and_this_one_agree() -> None:
    at = int(time.time())
    signature = hmac.new(SECRET.encode(), f"{at}.".encode() + BODY, hashlib.sha256).hexdigest()
    header = stripe_header(signature, at=at)
    assert stripe.WebhookSignature.verify_header(BODY.decode(), header["Stripe-Signature"], SECRET, 300)
    assert verdict(STRIPE, header, now=at) is Verdict.GENUINE


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(300, Verdict.GENUINE), (-300, Verdict.GENUINE), (301, Verdict.STALE), (-301, Verdict.STALE)],
)
def test_a_time_that_is_off_in_either_direction_is_stale(offset: int, expected: Verdict) -> None:
    assert verdict(STRIPE, stripe_header(STRIPE_SIGNATURE), now=NOW + offset) is expected
    source, headers, _ = VECTORS["slack"]
    assert verdict(source, headers, now=NOW + offset) is expected


def test_the_source_may_name_another_tolerance() -> None:
    source = hmac_source("X-Sig", "{timestamp}{body}", timestamp=None).model_copy(
        update={"timestamp": SourceTimestamp(header="X-At", tolerance_seconds=10)}
    )
    signature = hmac.new(SECRET.encode(), b"1700000000" + BODY, hashlib.sha256).hexdigest()
    headers = {"X-Sig": signature, "X-At": "1700000000"}
    assert verdict(source, headers, now=NOW + 10) is Verdict.GENUINE
    assert verdict(source, headers, now=NOW + 11) is Verdict.STALE


def test_any_of_several_secrets_may_have_signed() -> None:
    assert verdict(GITHUB, {"X-Hub-Signature-256": GITHUB_SIGNATURE}, secrets=("new", SECRET)) is Verdict.GENUINE
    assert verdict(STRIPE, stripe_header("00" * 32, STRIPE_SIGNATURE), secrets=("new", SECRET)) is Verdict.GENUINE


@pytest.mark.parametrize(
    "header", ["", "t=1700000000", f"v1={STRIPE_SIGNATURE}", "nonsense", f"t=1700000000,v0={STRIPE_SIGNATURE}"]
)
def test_a_stripe_header_without_time_or_signature_is_unsigned(header: str) -> None:
    assert verdict(STRIPE, {"Stripe-Signature": header}) is Verdict.UNSIGNED


@pytest.mark.parametrize(
    "time_text", ["", "yesterday", "1e9", "１７０００００００００", "-1700000000", "nan", "99999999999999999999"]
)
def test_a_time_that_cannot_be_read_is_stale(time_text: str) -> None:
    assert verdict(STRIPE, {"Stripe-Signature": f"t={time_text},v1={STRIPE_SIGNATURE}"}) in {
        Verdict.STALE,
        Verdict.UNSIGNED,
    }


@pytest.mark.parametrize(
    "signature", ["sha256=", "sha256=zz", "sha256=é", "sha256=abc", "sha1=" + "a" * 40, GITHUB_SIGNATURE[7:]]
)
def test_a_malformed_signature_does_not_match(signature: str) -> None:
    assert verdict(GITHUB, {"X-Hub-Signature-256": signature}) in {Verdict.FORGED, Verdict.UNSIGNED}


def test_signatures_are_compared_as_bytes_so_capital_hex_and_missing_padding_do_not_matter() -> None:
    prefix, digits = GITHUB_SIGNATURE.split("=")
    assert verdict(GITHUB, {"X-Hub-Signature-256": f"{prefix}={digits.upper()}"}) is Verdict.GENUINE
    source, headers, _ = VECTORS["shopify"]
    assert verdict(source, {name: value.rstrip("=") for name, value in headers.items()}) is Verdict.GENUINE


def test_base64url_has_its_own_alphabet() -> None:
    source = hmac_source("X-Sig", encoding="base64url")
    # The first body whose signature has a letter that the two alphabets write differently.
    digests = {body: hmac.digest(SECRET.encode(), body, "sha256") for body in map(bytes, zip(range(50), strict=True))}
    body, standard = next(
        (body, b64encode(digest).decode()) for body, digest in digests.items() if b"/" in b64encode(digest)
    )
    assert verdict(source, {"X-Sig": standard.replace("/", "_").replace("+", "-")}, body=body) is Verdict.GENUINE
    assert verdict(source, {"X-Sig": standard}, body=body) is Verdict.FORGED


def test_a_header_that_is_sent_twice_counts_as_several_signatures() -> None:
    headers: CIMultiDict[str] = CIMultiDict()
    headers.add("X-Hub-Signature-256", "sha256=" + "0" * 64)
    headers.add("X-Hub-Signature-256", GITHUB_SIGNATURE)
    request = SignedRequest("POST", "/", headers, BODY)
    assert build_check(GITHUB, [SECRET])(request, NOW) is Verdict.GENUINE


def test_without_a_secret_nothing_is_genuine() -> None:
    for source, headers, _ in VECTORS.values():
        assert verdict(source, headers, secrets=()) is not Verdict.GENUINE


@given(header=st.text(max_size=200), at=st.text(max_size=30))
def test_no_header_whatever_raises_or_gets_in(header: str, at: str) -> None:
    for source, headers, _ in VECTORS.values():
        forged = dict.fromkeys(headers, header)
        if source.timestamp:
            forged[source.timestamp.header] = at
        assert verdict(source, forged) is not Verdict.GENUINE
