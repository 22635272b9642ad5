"""Signatures of webhooks that we send, as Standard Webhooks says
(https://github.com/standard-webhooks/standard-webhooks).

The id is the same in every attempt, so that a receiver knows a copy; the timestamp, and so the signature, is that of
the attempt.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

SECRET_PREFIX: Final = "whsec_"
MIN_SECRET_BYTES: Final = 16


def read_key(secret: str) -> bytes:
    """The key that a secret such as `whsec_…` holds. Raises ValueError that says what is wrong and repeats none of
    it.
    """
    try:
        key = base64.b64decode(secret.strip().removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("has to be whsec_ and a key in base64, as `openssl rand -base64 32` makes one") from None
    if len(key) < MIN_SECRET_BYTES:
        raise ValueError(f"holds a key of {len(key)} bytes; make one of 24 to 64, as `openssl rand -base64 32` does")
    return key


def sign(key: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """One signature: `v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


def signed_headers(keys: Sequence[bytes], webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a webhook with this body, sent at `timestamp` (seconds since 1970), with a signature per key."""
    return {
        "Content-Type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(key, webhook_id, timestamp, body) for key in keys),
    }
