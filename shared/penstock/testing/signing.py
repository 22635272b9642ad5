"""Webhooks as their senders would send them: signed with the secret by which the app verifies them.

What is signed, and where the signature stands, is what `penstock_ingress.rules.signatures` checks; a test sends what
this makes through that check, scheme by scheme.
"""

import hmac
import re
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from multidict import CIMultiDict
from pydantic import JsonValue

from penstock import exact_json
from penstock.definitions.models import Pick, Source
from penstock.definitions.sources import find_id
from penstock.expressions import compile_template
from penstock.settings import read_secrets

_ENCODERS: Final[Mapping[str, Callable[[bytes], str]]] = {
    "hex": bytes.hex,
    "base64": lambda digest: b64encode(digest).decode(),
    "base64url": lambda digest: urlsafe_b64encode(digest).decode(),
}
_TYPES: Final = {"stripe": Pick(payload="type"), "github": Pick(header="X-GitHub-Event")}


@dataclass(frozen=True, slots=True)
class Unsigned:
    """What is to be signed: a payload, sent to `path` now. `id` and `type` are put where the source has them, unless
    the payload or `headers` have them already.
    """

    payload: JsonValue
    id: str
    type: str | None
    headers: Mapping[str, str]
    path: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that a sender makes."""

    headers: Mapping[str, str]
    body: bytes


def sign(source: Source, secret: str, unsigned: Unsigned) -> Sent:
    """The request that the sender behind `source` makes with this secret."""
    headers = CIMultiDict({"Content-Type": "application/json", **unsigned.headers})
    payload = _put(find_id(source), unsigned.id, headers, unsigned.payload)
    if unsigned.type is not None:
        payload = _put(source.type or _TYPES.get(source.scheme), unsigned.type, headers, payload)
    body, moment = exact_json.dumps(payload), str(int(time.time()))
    match source.scheme:
        case "stripe":
            signature = hmac.digest(secret.encode(), f"{moment}.".encode() + body, "sha256").hex()
            headers["Stripe-Signature"] = f"t={moment},v1={signature}"
        case "github":
            headers["X-Hub-Signature-256"] = f"sha256={hmac.digest(secret.encode(), body, 'sha256').hex()}"
        case "hmac":
            if source.timestamp is not None:
                headers.setdefault(source.timestamp.header, moment)
            digest = hmac.digest(secret.encode(), _fill(source, headers, unsigned.path, body), source.algorithm)
            headers[source.header or ""] = f"{source.prefix}{_ENCODERS[source.encoding](digest)}"
    return Sent(headers, body)


def find_secret(source: Source) -> str:
    """The first of the secrets by which the app verifies what `source` sends. Raises ValueError when it is not set."""
    secrets: dict[str, JsonValue] = dict(read_secrets())
    for text in source.secrets:
        value = compile_template(text, source.place).evaluate({"secrets": secrets})
        if isinstance(value, str) and value:
            return value
    raise ValueError(f"no secret of the source {source.name!r} is set: give open_app(…, secrets={{…}}) what it names")


def _fill(source: Source, headers: Mapping[str, str], path: str, body: bytes) -> bytes:
    """What the signature of a source without a scheme of its own covers: its template, filled in."""
    id, moment = source.deduplicate and source.deduplicate.header, source.timestamp and source.timestamp.header
    parts = {
        "{timestamp}": headers.get(moment, "") if moment else "",
        "{id}": headers.get(id, "") if id else "",
        "{url}": source.url or "",
        "{method}": "POST",
        "{path}": path,
    }
    pieces = re.split("|".join(f"({re.escape(name)})" for name in [*parts, "{body}"]), source.signed)
    return b"".join(body if piece == "{body}" else parts.get(piece, piece).encode() for piece in pieces if piece)


def _put(pick: Pick | None, value: str, headers: CIMultiDict[str], payload: JsonValue) -> JsonValue:
    """The payload, with `value` where `pick` says, or the headers with it; what is there already stays."""
    if pick is None:
        return payload
    if pick.header is not None:
        headers.setdefault(pick.header, value)
        return payload
    return _with(payload, (pick.payload or "").split("."), value)


def _with(payload: JsonValue, path: Sequence[str], value: str) -> JsonValue:
    if not path:
        return value if payload is None else payload
    if payload is not None and not isinstance(payload, dict):
        return payload
    inside = payload or {}
    return {**inside, path[0]: _with(inside.get(path[0]), path[1:], value)}
