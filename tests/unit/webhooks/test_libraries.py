"""Providers' own libraries: what they sign we accept, and what we sign they accept."""

import sys
import time
from base64 import b64encode
from datetime import UTC, datetime

import pytest
import razorpay
import standardwebhooks
import stripe
import svix
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from discord_interactions import verify_key
from paddle_billing.Notifications import Secret, Verifier
from sendgrid import EventWebhook
from slack_sdk.signature import SignatureVerifier
from twilio.request_validator import RequestValidator

from penstock.webhooks import SignedRequest, Verdict, build_check
from tests.unit.webhooks.sources import BODY, SECRET, URL, WHSEC, load_source, request_of, sign_for, verdict_of

AT = 0.0
"""When the requests of a test are signed: some libraries go by the clock."""
TEXT = BODY.decode()


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "AT", time.time())


def check(scheme: str, headers: dict[str, str], body: bytes = BODY, secret: str = SECRET, query: str = "") -> Verdict:
    return build_check(load_source(scheme), [secret])(request_of(headers, body, query), AT)


def headers_of(request: SignedRequest) -> dict[str, str]:
    return {str(name): value for name, value in request.headers.items()}


def test_stripe() -> None:
    ours = sign_for("stripe", at=AT)
    header = ours.headers["Stripe-Signature"]
    assert stripe.WebhookSignature.verify_header(ours.body.decode(), header, SECRET, 300)


def test_slack() -> None:
    theirs = SignatureVerifier(SECRET)
    at = str(int(AT))
    signature = theirs.generate_signature(timestamp=at, body=TEXT)
    assert signature is not None
    headers = {"X-Slack-Signature": signature, "X-Slack-Request-Timestamp": at}
    assert check("slack", headers) is Verdict.GENUINE
    ours = sign_for("slack", at=AT)
    assert theirs.is_valid_request(ours.body, headers_of(ours))


@pytest.mark.parametrize("scheme", ["standard_webhooks", "svix"])
def test_standard_webhooks_and_svix(scheme: str) -> None:
    at, prefix = datetime.fromtimestamp(int(AT), UTC), {"standard_webhooks": "webhook", "svix": "svix"}[scheme]
    theirs = standardwebhooks.Webhook(WHSEC) if scheme == "standard_webhooks" else svix.Webhook(WHSEC)
    headers = {
        f"{prefix}-id": "msg_1",
        f"{prefix}-timestamp": str(int(AT)),
        f"{prefix}-signature": theirs.sign("msg_1", at, TEXT),
    }
    assert check(scheme, headers, secret=WHSEC) is Verdict.GENUINE
    ours = sign_for(scheme, at=AT)
    theirs.verify(ours.body, headers_of(ours))
    with pytest.raises(Exception, match="signature"):
        theirs.verify(ours.body + b" ", headers_of(ours))


def test_twilio() -> None:
    theirs = RequestValidator(SECRET)
    params = {"To": "+1 5", "From": "+2", "Body": "hé & so", "Empty": ""}
    headers = {
        "X-Twilio-Signature": theirs.compute_signature(URL, params),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    body = b"To=%2B1+5&From=%2B2&Body=h%C3%A9+%26+so&Empty="
    assert check("twilio", headers, body, query="x=1") is Verdict.GENUINE
    ours = sign_for("twilio", {"To": "+1 5", "Body": "hé"}, AT)
    assert theirs.validate(URL, {"To": "+1 5", "Body": "hé", **sent_beside(ours)}, ours.headers["X-Twilio-Signature"])


def sent_beside(request: SignedRequest) -> dict[str, str]:
    """What our recipe adds to a form so that it has a type."""
    payload = request.payload()
    assert isinstance(payload, dict)
    return {name: str(value) for name, value in payload.items() if name not in {"To", "Body"}}


def test_discord() -> None:
    key = Ed25519PrivateKey.generate()
    public, at = key.public_key().public_bytes_raw().hex(), str(int(AT))
    signature = key.sign(at.encode() + BODY).hex()
    assert verify_key(BODY, signature, at, public)
    headers = {"X-Signature-Ed25519": signature, "X-Signature-Timestamp": at}
    assert check("discord", headers, secret=public) is Verdict.GENUINE
    assert check("discord", headers, BODY + b" ", public) is Verdict.FORGED


def test_sendgrid() -> None:
    key = generate_private_key(SECP256R1())
    public = b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    at = str(int(AT))
    signature = b64encode(key.sign(at.encode() + BODY, ECDSA(SHA256()))).decode()
    theirs = EventWebhook()
    assert theirs.verify_signature(TEXT, signature, at, theirs.convert_public_key_to_ecdsa(public))
    headers = {
        "X-Twilio-Email-Event-Webhook-Signature": signature,
        "X-Twilio-Email-Event-Webhook-Timestamp": at,
    }
    assert check("sendgrid", headers, secret=public) is Verdict.GENUINE
    assert check("sendgrid", headers, BODY + b" ", public) is Verdict.FORGED


def test_razorpay() -> None:
    ours = sign_for("razorpay")
    theirs = razorpay.Client(auth=("key", "secret"))
    assert theirs.utility.verify_webhook_signature(ours.body.decode(), ours.headers["X-Razorpay-Signature"], SECRET)


class PaddleRequest:
    """A request as Paddle's library knows it."""

    def __init__(self, signed: SignedRequest) -> None:
        self.headers = headers_of(signed)
        self.body = signed.body


def test_paddle() -> None:
    ours = sign_for("paddle", at=time.time())
    assert Verifier().verify(PaddleRequest(ours), Secret(SECRET))
    assert verdict_of("paddle", ours, time.time()) is Verdict.GENUINE


def test_an_id_that_could_be_read_as_part_of_the_time_is_refused() -> None:
    at = datetime.fromtimestamp(int(AT), UTC)
    for id, expected in (("msg_1", Verdict.GENUINE), ("msg_1.1699999999", Verdict.FORGED)):
        signature = standardwebhooks.Webhook(WHSEC).sign(id, at, TEXT)
        headers = {"webhook-id": id, "webhook-timestamp": str(int(AT)), "webhook-signature": signature}
        assert check("standard_webhooks", headers, secret=WHSEC) is expected
