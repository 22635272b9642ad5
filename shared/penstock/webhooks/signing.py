"""Makes the requests that a provider would send, by the same rows that verify them: for tests of apps."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from multidict import CIMultiDict
from pydantic import JsonValue

from penstock import exact_json
from penstock.definitions.sources import Source
from penstock.webhooks.contents import FORM, build_content
from penstock.webhooks.keys import ENCODERS, read_secret
from penstock.webhooks.recipes import Basic, Nothing, PayloadToken, Proof, Recipe, Token
from penstock.webhooks.requests import SignedRequest
from penstock.webhooks.sources import find_ids, find_types, list_proofs
from penstock.webhooks.times import write_time

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Unsigned:
    """What is to be signed: a payload, sent at `moment` (seconds since 1970). `id` and `type` stand where the scheme
    has them in headers; in the payload they are the caller's. `headers` are further ones.
    """

    payload: JsonValue
    moment: float
    id: str = ""
    type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = "/"
    is_form: bool = False


def sign(source: Source, secret: str, unsigned: Unsigned) -> SignedRequest:
    """The request that the provider of `source` would send with this secret.

    Raises ValueError for a scheme whose signatures only the provider can make, and for a secret that is not of its
    form.
    """
    proof = _pick_proof(source, secret)
    headers = CIMultiDict({"Content-Type": FORM if unsigned.is_form else _JSON})
    _set_places(headers, source, proof, unsigned)
    headers.update(unsigned.headers)
    match proof:
        case Recipe():
            return _sign_recipe(proof, source, secret, headers, unsigned)
        case Token():
            headers[proof.header] = f"{proof.prefix}{secret}"
        case Basic():
            headers["Authorization"] = f"Basic {b64encode(secret.encode()).decode()}"
        case PayloadToken():
            payload = _set(unsigned.payload, proof.payload.split("."), secret)
            return SignedRequest("POST", unsigned.path, headers, _write(payload, unsigned))
        case _:
            pass
    return SignedRequest("POST", unsigned.path, headers, _write(unsigned.payload, unsigned))


def _pick_proof(source: Source, secret: str) -> Proof:
    for proof in list_proofs(source):
        if isinstance(proof, Recipe) and proof.is_symmetric and read_secret(proof, secret) is not None:
            return proof
        if isinstance(proof, Token | Basic | PayloadToken | Nothing):
            return proof
    raise ValueError(f"only the provider can sign for the scheme {source.scheme!r}, or this is not one of its secrets")


def _set_places(headers: CIMultiDict[str], source: Source, proof: Proof, unsigned: Unsigned) -> None:
    """Set the headers that hold the id and the type, the first of each that there may be."""
    ids = [place.header for places in find_ids(source) for place in places if place.header is not None]
    types = [place.header for place in find_types(source) if place.header is not None]
    if isinstance(proof, Recipe) and proof.id is not None and proof.id.header is not None:
        ids.insert(0, proof.id.header)
    if ids and unsigned.id:
        headers[ids[0]] = unsigned.id
    if types and unsigned.type:
        headers[types[0]] = unsigned.type


def _sign_recipe(
    recipe: Recipe, source: Source, secret: str, headers: CIMultiDict[str], unsigned: Unsigned
) -> SignedRequest:
    time, payload = recipe.time, unsigned.payload
    text = write_time(unsigned.moment, recipe.unit)
    if time is not None and time.header is not None:
        headers[time.header] = text
    elif time is not None and time.part is not None:
        headers[recipe.header] = f"{time.part}{text}"
    elif time is not None and time.payload is not None:
        payload = _set(payload, time.payload.split("."), text if recipe.in_payload else int(text))
    if recipe.in_payload is not None and recipe.id is not None and recipe.id.payload is not None:
        payload = _set(payload, recipe.id.payload.split("."), unsigned.id)
    request = _with_digest(SignedRequest("POST", unsigned.path, headers, _write(payload, unsigned)), recipe, source)
    key = read_secret(recipe, secret)
    if key is None:
        raise ValueError(f"this is not a secret of the scheme {source.scheme!r}")
    digest = hmac.digest(key, build_content(recipe, source.url)(request, text), recipe.algorithm)
    signature = f"{recipe.prefix}{ENCODERS[recipe.encoding](digest)}"
    if recipe.in_payload is not None:
        return request._replace(body=_write(_set(payload, recipe.in_payload.split("."), signature), unsigned))
    before = headers.get(recipe.header)
    headers[recipe.header] = signature if before is None else f"{before}{recipe.separator}{signature}"
    return request


def _with_digest(request: SignedRequest, recipe: Recipe, source: Source) -> SignedRequest:
    if recipe.body_digest is None or request.content_type == FORM:
        return request
    query = (source.url or "").partition("?")[2]
    digest = f"{recipe.body_digest}={hashlib.sha256(request.body).hexdigest()}"
    return request._replace(query=f"{query}&{digest}" if query else digest)


def _set(payload: JsonValue, path: Sequence[str], value: JsonValue) -> JsonValue:
    """A payload with `value` on the path; what is not a mapping on the way is replaced by one, and a list is gone
    through.
    """
    if not path:
        return value
    member, *rest = path
    if member == "*":
        items = payload if isinstance(payload, list) else [{}]
        return [_set(item, rest, value) for item in items]
    inside = payload if isinstance(payload, dict) else {}
    return {**inside, member: _set(inside.get(member), rest, value)}


def _write(payload: JsonValue, unsigned: Unsigned) -> bytes:
    if unsigned.is_form and isinstance(payload, dict):
        return urlencode(payload, doseq=True).encode()
    return exact_json.dumps(payload)
