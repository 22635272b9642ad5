"""`send: URL`: an outgoing webhook, signed by Standard Webhooks (github.com/standard-webhooks/standard-webhooks).

Its id is the same in every attempt, so that a receiver knows a copy; the timestamp, and so the signature, is that of
the attempt.
"""

from typing import Final

from multidict import CIMultiDict
from pydantic import JsonValue

from penstock import clock, exact_json
from penstock.definitions.models import RetryPolicy, StepAction
from penstock.domain.workload import Activity
from penstock.errors import Permanent, Transient
from penstock.expressions.language import describe_type
from penstock.outgoing.exchange import Request
from penstock.outgoing.signing import read_key, signed_headers
from penstock_executor.actions.http import target_url
from penstock_executor.outside.requests import call_out, idempotency_key
from penstock_executor.outside.responses import describe_refusal, retry_after
from penstock_executor.steps.arguments import wrong
from penstock_executor.steps.consumption import consumption, reported
from penstock_executor.steps.outcomes import Done, Outcome
from penstock_executor.steps.specs import Call, StepSpec

DEFAULT_TIMEOUT_SECONDS: Final = 20.0
"""Receivers should answer at once and work afterwards; the standard recommends 15 to 30 s."""
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
    headers = CIMultiDict(signed_headers(secrets, webhook_id, timestamp, body))
    request = Request("POST", url, headers, body, max_redirects=0)
    response = await call_out(call, request, call.plan.definition.timeout_seconds or DEFAULT_TIMEOUT_SECONDS)
    if not 200 <= response.status < 300:
        message = describe_refusal(request, response)
        if response.status < 400 or response.status == _GONE:
            raise Permanent(message, kind="http")
        raise Transient(message, kind="http", retry_after_seconds=retry_after(response))
    used = {Activity.API_BYTE: len(body) + len(response.body)}
    return Done({"id": webhook_id, "status": response.status}, must_commit=True, used=used)


def _read_secrets(call: Call) -> list[bytes]:
    """The keys of `secret`: one, or several during a rotation. Messages never repeat them."""
    given = call.arguments.get("secret")
    secrets = [_read_secret(call, secret) for secret in (given if isinstance(given, list) else [given])]
    if not secrets:
        raise wrong(call, "`secret` is an empty list; a receiver needs a signature to know who sent a webhook")
    return secrets


def _read_secret(call: Call, secret: JsonValue) -> bytes:
    if not isinstance(secret, str):
        raise wrong(call, f"`secret` has to be text such as whsec_…, and it is {describe_type(secret)}")
    try:
        return read_key(secret)
    except ValueError as error:
        raise wrong(call, f"`secret` {error}") from None


SPEC: Final = StepSpec(
    action=StepAction.SEND,
    target="a URL",
    arguments=("payload", "secret"),
    awaited=send,
    is_apart=True,
    consumes=consumption(Activity.CALL, done=reported),
    retries=DEFAULT_RETRIES,
)
