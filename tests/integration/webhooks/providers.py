"""An app that has a source of every scheme, and requests as their providers send them."""

import json
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from multidict import CIMultiDict
from pydantic import JsonValue

from penstock.webhooks import SignedRequest, Unsigned, sign
from penstock.webhooks.provider_table import PROVIDERS
from tests.unit.webhooks.sources import SIGNING, load_source, secret_of

DISCORD = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SENDGRID = generate_private_key(SECP256R1())
PUBLIC_KEYS = {
    "discord": DISCORD.public_key().public_bytes_raw().hex(),
    "sendgrid": b64encode(SENDGRID.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode(),
}
SCHEMES = [*SIGNING, *PUBLIC_KEYS]
VERIFY_TOKEN = "verify-0123456789"
EVENTS: dict[str, JsonValue] = {
    "slack": {"type": "event_callback", "event": {"type": "message"}},
    "sendgrid": [{"event": "open", "sg_event_id": "e1"}, {"event": "bounce", "sg_event_id": "e2"}],
    "hubspot": [{"eventId": 1, "subscriptionId": 2, "occurredAt": 3, "subscriptionType": "contact.creation"}],
    "microsoft_graph": {"value": [{"id": "n1", "changeType": "created"}, {"id": "n2", "changeType": "deleted"}]},
    "discord": {"type": 1, "event": {"type": "APPLICATION_AUTHORIZED", "timestamp": "2026-01-01T00:00:00Z"}},
    "twilio": {"MessageSid": "SM1", "MessageStatus": "sent", "Body": "hé & so"},
    "postmark": {"RecordType": "Bounce", "ID": 42},
    "lemon_squeezy": {"meta": {"event_name": "order_created"}, "data": {"id": "1", "attributes": {"updated_at": "x"}}},
}
"""What they send, where the type alone is not enough."""


def write_app(directory: Path, *, more: str = "") -> Path:
    """The app: each scheme has a source of its own name, and one workflow for all that it sends."""
    directory.mkdir(parents=True, exist_ok=True)
    sources: dict[str, JsonValue] = {}
    workflows = []
    for scheme in SCHEMES:
        source = load_source(scheme)
        sources[scheme] = {
            "scheme": scheme,
            "secrets": [PUBLIC_KEYS.get(scheme, f"${{secrets.{scheme.upper()}}}")],
            **{key: getattr(source, key) for key in PROVIDERS[scheme].needs},
        }
        workflows.append(f"workflow: on_{scheme}\non: {{webhook: {{source: {scheme}}}}}\nsteps: [{{log: hello}}]\n")
    (directory / "app.yaml").write_text(json.dumps({"app": "hooks", "sources": sources}))
    (directory / "workflows").mkdir(exist_ok=True)
    (directory / "workflows" / "all.yaml").write_text("---\n".join([*workflows, *([more] if more else [])]))
    return directory


def secrets_of() -> dict[str, str]:
    """The environment that holds the secrets."""
    secrets = {f"PENSTOCK_SECRET_{scheme.upper()}": secret_of(scheme) for scheme in SIGNING}
    return {**secrets, "PENSTOCK_SECRET_V": VERIFY_TOKEN}


def send_for(scheme: str, payload: JsonValue = None, *, at: float | None = None, id: str = "id_1") -> SignedRequest:
    """What the provider sends now, or at another time."""
    moment = time.time() if at is None else at
    event = EVENTS.get(scheme, {"n": 1}) if payload is None else payload
    if scheme in PUBLIC_KEYS:
        return _sign_publicly(scheme, event, moment)
    return sign(load_source(scheme), secret_of(scheme), Unsigned(event, moment, id, "ping"))


def _sign_publicly(scheme: str, event: JsonValue, moment: float) -> SignedRequest:
    body, text = json.dumps(event).encode(), str(int(moment))
    makers: dict[str, Callable[[bytes], dict[str, str]]] = {
        "discord": lambda signed: {
            "X-Signature-Ed25519": DISCORD.sign(signed).hex(),
            "X-Signature-Timestamp": text,
        },
        "sendgrid": lambda signed: {
            "X-Twilio-Email-Event-Webhook-Signature": b64encode(SENDGRID.sign(signed, ECDSA(SHA256()))).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": text,
        },
    }
    headers = CIMultiDict({"Content-Type": "application/json", **makers[scheme](text.encode() + body)})
    return SignedRequest("POST", "/", headers, body)
