"""Whether a webhook comes from a `send` step of a Penstock that shares a secret with the receiver."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from multidict import CIMultiDict
from pydantic import JsonValue

from penstock.client.errors import WebhookRefused
from penstock.definitions.sources import Source
from penstock.webhooks import SignedRequest, Verdict, build_check, is_usable

_SOURCE: Final = Source(name="penstock", scheme="standard_webhooks")
_REASONS: Final = {
    Verdict.UNSIGNED: "it has no signature; webhook-id, webhook-timestamp and webhook-signature have to be there",
    Verdict.STALE: "it was signed more than five minutes ago, or the clocks of both sides differ by that much",
    Verdict.FORGED: "no signature was made with one of these secrets, of this very body; verify the bytes that arrived",
}


def verify_webhook(
    headers: Mapping[str, str], body: bytes, secrets: str | Sequence[str], *, now: float | None = None
) -> JsonValue:
    """The payload of a webhook that one of the `secrets` (`whsec_…`) has signed, within five minutes of `now` (seconds
    since 1970).

    `body` is what arrived, byte for byte. Raises WebhookRefused, and ValueError for secrets that are none. A webhook
    may come more than once: `webhook-id` is the same each time.
    Source: https://github.com/standard-webhooks/standard-webhooks
    """
    given = [secrets] if isinstance(secrets, str) else list(secrets)
    if not given or not all(is_usable(_SOURCE, secret) for secret in given):
        raise ValueError("secrets: each has to be whsec_ and a key in base64, and there has to be one")
    request = SignedRequest("POST", "/", CIMultiDict(headers), body)
    verdict = build_check(_SOURCE, given)(request, time.time() if now is None else now)
    if verdict is not Verdict.GENUINE:
        raise WebhookRefused(f"this webhook was not sent by Penstock: {_REASONS[verdict]}")
    return request.payload()
