"""Links with which somebody without an account answers what a run waits for: which run and step, signed.

A link is a capability: it holds for one wait of one run, as long as that waits. It is stored nowhere. Who has it may
answer once.
"""

import base64
import hmac
from hashlib import sha256
from typing import Final, NamedTuple
from uuid import UUID

PATH: Final = "approvals"
_CONTEXT: Final = b"penstock approval link 1"
_MAC_BYTES: Final = 24
_MAX_TOKEN: Final = 2000


class LinkTarget(NamedTuple):
    """The step of a run that waits, by its path."""

    environment: str
    run_id: UUID
    step: str


def sign_link(key: bytes, target: LinkTarget) -> str:
    """The last part of the link's path, of letters that need no escaping."""
    content = target.run_id.bytes + target.step.encode()
    token = _sign(key, target.environment, content) + content
    return base64.urlsafe_b64encode(token).decode().rstrip("=")


def read_link(key: bytes, environment: str, token: str) -> LinkTarget | None:
    """What a link is for; None for one that this installation has not made for this environment."""
    if len(token) > _MAX_TOKEN or not token.isascii():
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        signature, content = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(signature, _sign(key, environment, content)):
            return None
        return LinkTarget(environment, UUID(bytes=content[:16]), content[16:].decode())
    except ValueError:  # not base64, too short, or not UTF-8
        return None


def write_url(base: str, environment: str, token: str) -> str:
    """The whole link. `base` is where people reach the public port."""
    prefix = "" if environment == "live" else "/version-test"
    return f"{base.rstrip('/')}{prefix}/{PATH}/{token}"


def _sign(key: bytes, environment: str, content: bytes) -> bytes:
    return hmac.digest(key, b"\x00".join((_CONTEXT, environment.encode(), content)), sha256)[:_MAC_BYTES]
