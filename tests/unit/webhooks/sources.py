"""What tests of webhooks share: sources as an author writes them, and requests."""

import json
from base64 import b64encode
from pathlib import Path

from multidict import CIMultiDict
from pydantic import JsonValue

from penstock.bodies import decode_payload
from penstock.definitions.models import App
from penstock.definitions.sources import Source
from penstock.reading.loader import load_files
from penstock.webhooks import SignedRequest, Unsigned, Verdict, build_check, sign
from penstock.webhooks.provider_table import PROVIDERS
from penstock.webhooks.recipes import Recipe, Secrets
from penstock_ingress.rules.deliveries import SourcePlan

NOW = 1_700_000_000.0
URL = "https://hooks.example.test/in/abc?x=1"
SECRET = "test_secret_0123456789abcdef"
WHSEC = f"whsec_{b64encode(b'0123456789abcdef0123456789abcdef').decode()}"
SECRETS = {
    "standard_webhooks": WHSEC,
    "svix": WHSEC,
    "postmark": "postmark:pass:word",
    "basic": "user:password",
}
BODY = (
    '{"id":"evt_1","type":"ping","text":"héllo ☃","webhookTimestamp":1700000000000,"event_id":"sq_1","uuid":"u-1"}'
).encode()
SIGNING = [
    scheme
    for scheme, provider in PROVIDERS.items()
    if provider.secrets is not Secrets.NONE
    and (not provider.proofs or not isinstance(provider.proofs[0], Recipe) or provider.proofs[0].is_symmetric)
    and scheme != "paypal"
]
"""Schemes whose requests can be made with the secret that verifies them."""


def write_source(scheme: str, **keys: JsonValue) -> dict[str, JsonValue]:
    """The source in an app.yaml that has what its scheme needs, and `keys`."""
    needs: dict[str, JsonValue] = {
        "url": URL,
        "verify_token": "${secrets.V}",
        "header": "X-Signature",
        "audience": URL,
        "issuer": URL,
    }
    provider = PROVIDERS[scheme]
    secrets: dict[str, JsonValue] = {} if provider.secrets is Secrets.NONE else {"secrets": ["${secrets.S}"]}
    return {"scheme": scheme, **secrets, **{key: needs[key] for key in provider.needs}, **keys}


def load_source(scheme: str, **keys: JsonValue) -> Source:
    """That source, read."""
    source = write_source(scheme, **keys)
    result = load_files({"app.yaml": json.dumps({"app": "a", "sources": {"s": source}}).encode()})
    assert result.app is not None, result.problems
    return result.app.sources["s"]


def make_plan(source: Source, secret: str = SECRET) -> SourcePlan:
    """The plan of a source whose secret is this one."""
    return SourcePlan(source, App(name="a", sources={"s": source}), {"S": secret})


def request_of(
    headers: dict[str, str] | CIMultiDict[str], body: bytes = BODY, query: str = "", method: str = "POST"
) -> SignedRequest:
    """A request as the ingress hands it on."""
    return SignedRequest(method, "/in/abc", CIMultiDict(headers), body, query, decode_payload)


def sign_for(scheme: str, payload: JsonValue = None, at: float = NOW, id: str = "id_1") -> SignedRequest:
    """What the provider sends, made with our own recipe."""
    given = json.loads(BODY) if payload is None else payload
    signed = sign(load_source(scheme), secret_of(scheme), Unsigned(given, at, id, "ping", path="/in/abc"))
    return signed._replace(decode=decode_payload)


def secret_of(scheme: str) -> str:
    """A secret of the form that the scheme has."""
    return SECRETS.get(scheme, SECRET)


def verdict_of(scheme: str, request: SignedRequest, now: float = NOW) -> Verdict:
    """What our own check says to a request."""
    return build_check(load_source(scheme), [secret_of(scheme)])(request, now)


def flip(data: bytes, position: int) -> bytes:
    """The data with one bit changed."""
    changed = bytearray(data)
    changed[position // 8 % len(data)] ^= 1 << position % 8
    return bytes(changed)


DATA = Path(__file__).parent
