"""`send: URL`: an outgoing webhook, signed as Standard Webhooks says
(https://github.com/standard-webhooks/standard-webhooks).

Its id is the same in every attempt, so that a receiver knows a copy; the timestamp, and so the signature, is that of
the attempt.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Final

from multidict import CIMultiDict
from pydantic import JsonValue

from penstock import clock, exact_json
from penstock.definitions.models import RetryPolicy, StepAction
from penstock.domain.workload import Activity
from penstock.errors import Permanent, Transient
from penstock.expressions.language import describe_type
from penstock_executor.actions.http import target_url
from penstock_executor.outside.requests import call_out, idempotency_key
from penstock_executor.outside.responses import describe_refusal, retry_after
from penstock_executor.steps.arguments import wrong
from penstock_executor.steps.consumption import consumption, reported
from penstock_executor.steps.exchange import Request
from penstock_executor.steps.outcomes import Done, Outcome
from penstock_executor.steps.specs import Call, StepSpec

DEFAULT_TIMEOUT_SECONDS: Final = 20.0
"""Receivers should answer at once and work afterwards; the standard recommends 15 to 30 s."""
SECRET_PREFIX: Final = "whsec_"
MIN_SECRET_BYTES: Final = 16
DEFAULT_RETRIES: Final = RetryPolicy(attempts=5, backoff_seconds=5, factor=6, max_seconds=3600)
"""Of steps without `retry`: receivers of webhooks expect to be asked again."""
_GONE: Final = 410


async def send(call: Call) -> Outcome:
    """`{id, status}` once the receiver has answered 2xx.

    Raises Transient for any other answer, as the standard asks (a receiver may be misconfigured for an hour), but for
    redirects, which a signed message must not follow, and 410, by which it wants no more.
    """
    url, secrets = target_url(call), _read_secrets(call)
    body = exact_json.dumps(call.arguments.get("payload"))
    webhook_id, timestamp = idempotency_key(call), int(clock.now().timestamp())
    headers = CIMultiDict(
        {
            "Content-Type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(sign(secret, webhook_id, timestamp, body) for secret in secrets),
        }
    )
    request = Request("POST", url, headers, body, max_redirects=0)
    response = await call_out(call, request, call.plan.definition.timeout_seconds or DEFAULT_TIMEOUT_SECONDS)
    if not 200 <= response.status < 300:
        message = describe_refusal(request, response)
        if response.status < 400 or response.status == _GONE:
            raise Permanent(message, kind="http")
        raise Transient(message, kind="http", retry_after_seconds=retry_after(response))
    used = {Activity.API_BYTE: len(body) + len(response.body)}
    return Done({"id": webhook_id, "status": response.status}, must_commit=True, used=used)


def sign(secret: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """One signature: `v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()}"


def _read_secrets(call: Call) -> list[bytes]:
    """The keys of `secret`: one, or several while the receiver changes from one to the next. They are never repeated in
    messages.
    """
    given = call.arguments.get("secret")
    secrets = [_read_secret(call, secret) for secret in (given if isinstance(given, list) else [given])]
    if not secrets:
        raise wrong(call, "`secret` is an empty list; a receiver needs a signature to know who sent a webhook")
    return secrets


def _read_secret(call: Call, secret: JsonValue) -> bytes:
    if not isinstance(secret, str):
        raise wrong(call, f"`secret` has to be text such as whsec_…, and it is {describe_type(secret)}")
    try:
        key = base64.b64decode(secret.strip().removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise wrong(
            call, "`secret` has to be whsec_ and a key in base64, as `openssl rand -base64 32` makes one"
        ) from None
    if len(key) < MIN_SECRET_BYTES:
        raise wrong(
            call, f"`secret` holds a key of {len(key)} bytes; make one of 24 to 64, as `openssl rand -base64 32` does"
        )
    return key


SPEC: Final = StepSpec(
    action=StepAction.SEND,
    target="a URL",
    arguments=("payload", "secret"),
    awaited=send,
    consumes=consumption(Activity.CALL, done=reported),
    retries=DEFAULT_RETRIES,
)
