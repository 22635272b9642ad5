"""Makes the requests that a provider would send, by the same rows that verify them: for tests of apps."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import urlencode

from multidict import CIMultiDict
from pydantic import JsonValue

from penstock import exact_json
from penstock.definitions.sources import Source
from penstock.webhooks.contents import FORM, build_content
from penstock.webhooks.keys import ENCODERS, read_secret
from penstock.webhooks.recipes import (
    Basic,
    Certified,
    Form,
    Nothing,
    PayloadToken,
    Proof,
    Recipe,
    Token,
    WebToken,
    Where,
)
from penstock.webhooks.requests import SignedRequest
from penstock.webhooks.sources import find_ids, find_types, list_proofs, provider_of
from penstock.webhooks.times import write_time
from penstock.webhooks.web_tokens import make_shared_token

_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Unsigned:
    """What is to be signed: a payload, sent to `path` at `moment` (seconds since 1970). `id` and `type` are put where
    the source has them, unless the payload or `headers` have them already.
    """

    payload: JsonValue
    moment: float
    id: str = ""
    type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = "/"


def sign(source: Source, secret: str, unsigned: Unsigned) -> SignedRequest:
    """The request that the provider of `source` would send with this secret.

    Raises ValueError for a scheme whose signatures only the provider can make, and for a secret that is not of its
    form.
    """
    proof = _pick_proof(source, secret)
    is_form = provider_of(source).form is Form.TWIML and isinstance(unsigned.payload, dict)
    headers = CIMultiDict({"Content-Type": FORM if is_form else _JSON, **unsigned.headers})
    payload = _put(_first_id(source, proof), unsigned.id, headers, unsigned.payload)
    payload = _put(next(iter(find_types(source)), None), unsigned.type, headers, payload)
    match proof:
        case Recipe():
            return _sign_recipe(proof, source, secret, _Given(headers, payload, unsigned))
        case Token():
            headers[proof.header] = f"{proof.prefix}{secret}"
        case Basic():
            headers["Authorization"] = f"Basic {b64encode(secret.encode()).decode()}"
        case PayloadToken():
            payload = _set(payload, proof.payload.split("."), secret)
        case WebToken():
            headers["Authorization"] = f"Bearer {make_shared_token(source, secret, unsigned.moment)}"
        case Certified() | Nothing():
            pass
    return SignedRequest("POST", unsigned.path, headers, _write(payload, headers))


class _Given(NamedTuple):
    """What a recipe signs: headers that it may add to, and the payload with id and type."""

    headers: CIMultiDict[str]
    payload: JsonValue
    unsigned: Unsigned


def _first_id(source: Source, proof: Proof) -> Where | None:
    """Where the id is put: what is signed as such, or the first place that is an id by itself."""
    if isinstance(proof, Recipe) and proof.id is not None:
        return proof.id
    return next((places[0] for places in find_ids(source) if len(places) == 1), None)


def _put(where: Where | None, value: str | None, headers: CIMultiDict[str], payload: JsonValue) -> JsonValue:
    """The payload, with `value` in that place, or the headers with it; what is there already stays."""
    if where is None or not value:
        return payload
    if where.header is not None:
        headers.setdefault(where.header, value)
        return payload
    return _set(payload, (where.payload or "").split("."), value, is_kept=True)


def _pick_proof(source: Source, secret: str) -> Proof:
    for proof in list_proofs(source):
        if isinstance(proof, Recipe) and proof.is_symmetric and read_secret(proof, secret) is not None:
            return proof
        if isinstance(proof, Token | Basic | PayloadToken | Nothing):
            return proof
        if isinstance(proof, WebToken) and source.jwks is None and proof.jwks is None:
            return proof
    raise ValueError(f"only the provider can sign for the scheme {source.scheme!r}, or this is not one of its secrets")


def _sign_recipe(recipe: Recipe, source: Source, secret: str, given: _Given) -> SignedRequest:
    (headers, payload, unsigned), time = given, recipe.time
    text = write_time(unsigned.moment, recipe.unit)
    if time is not None and time.header is not None:
        text = headers.setdefault(time.header, text)
    elif time is not None and time.part is not None:
        headers[recipe.header] = f"{time.part}{text}"
    elif time is not None and time.payload is not None:
        payload = _set(payload, time.payload.split("."), text if recipe.in_payload else int(text))
    request = _with_digest(SignedRequest("POST", unsigned.path, headers, _write(payload, headers)), recipe, source)
    key = read_secret(recipe, secret)
    if key is None:
        raise ValueError(f"this is not a secret of the scheme {source.scheme!r}")
    digest = hmac.digest(key, build_content(recipe, source.url)(request, text), recipe.algorithm)
    signature = f"{recipe.prefix}{ENCODERS[recipe.encoding](digest)}"
    if recipe.in_payload is not None:
        return request._replace(body=_write(_set(payload, recipe.in_payload.split("."), signature), headers))
    before = headers.get(recipe.header)
    headers[recipe.header] = signature if before is None else f"{before}{recipe.separator}{signature}"
    return request


def _with_digest(request: SignedRequest, recipe: Recipe, source: Source) -> SignedRequest:
    if recipe.body_digest is None or request.content_type == FORM:
        return request
    query = (source.url or "").partition("?")[2]
    digest = f"{recipe.body_digest}={hashlib.sha256(request.body).hexdigest()}"
    return request._replace(query=f"{query}&{digest}" if query else digest)


def _set(payload: JsonValue, path: Sequence[str], value: JsonValue, *, is_kept: bool = False) -> JsonValue:
    """A payload with `value` on the path, through every item of a list; what is in the way is replaced, unless it
    `is_kept`.
    """
    if not path:
        return payload if is_kept and payload is not None else value
    member, *rest = path
    if member == "*" and (isinstance(payload, list) or payload is None or not is_kept):
        items = payload if isinstance(payload, list) else [{}]
        return [_set(item, rest, value, is_kept=is_kept) for item in items]
    if member == "*" or (is_kept and payload is not None and not isinstance(payload, dict)):
        return payload
    inside = payload if isinstance(payload, dict) else {}
    return {**inside, member: _set(inside.get(member), rest, value, is_kept=is_kept)}


def _write(payload: JsonValue, headers: CIMultiDict[str]) -> bytes:
    if headers["Content-Type"] == FORM and isinstance(payload, dict):
        return urlencode(payload, doseq=True).encode()
    return exact_json.dumps(payload)
