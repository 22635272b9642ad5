"""Whether a webhook comes from who it says: checked on the raw bytes, in constant time, before anything is parsed that
does not hold the signature itself.

Several secrets (rotation) and several signatures are tried; what is malformed does not match, and a time that is off in
either direction is refused.
"""

import hmac
from collections.abc import Callable, Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature

from penstock.definitions.sources import Source
from penstock.webhooks.certified import build_certified_check, find_certified, want_certificate
from penstock.webhooks.contents import build_content, find_part, find_text, is_digest_right, list_urls
from penstock.webhooks.keys import DECODERS, read_public_key, read_secret, verify
from penstock.webhooks.places import find_value, split_header
from penstock.webhooks.recipes import Basic, Certified, Nothing, PayloadToken, Proof, Recipe, Token, WebToken, Where
from penstock.webhooks.requests import Check, Signed, SignedRequest, Verdict
from penstock.webhooks.sources import is_time_covered, list_proofs, tolerance_of
from penstock.webhooks.stored_keys import KeyStore, Wanted
from penstock.webhooks.times import is_recent, read_time
from penstock.webhooks.tokens import build_basic_check, build_payload_token_check, build_token_check
from penstock.webhooks.web_tokens import build_web_token_check, want_keys

MAX_SIGNATURES: Final = 8
"""As many are tried where each costs some hundred microseconds."""
_Matcher = Callable[[bytes, Sequence[bytes]], bool]
_RANK: Final = (Verdict.GENUINE, Verdict.FORGED, Verdict.STALE, Verdict.UNSIGNED)


def build_check(source: Source, secrets: Sequence[str], store: KeyStore | None = None) -> Check:
    """The check of a source whose secrets are `secrets`; to be built once. Certificates and key sets are those of the
    store, where `want` says which are needed; a request whose key is not there is forged.
    """
    checks = [_build(proof, source, secrets, store or KeyStore()) for proof in list_proofs(source)]
    if len(checks) == 1:
        return checks[0]
    return lambda request, now: min((check(request, now) for check in checks), key=_RANK.index)


def is_usable(source: Source, secret: str) -> bool:
    """Whether a secret is what the scheme verifies with: of the form that its keys have."""
    return any(not isinstance(proof, Recipe) or _has_key(proof, secret) for proof in list_proofs(source))


def want(source: Source, request: SignedRequest, now: float) -> Wanted | None:
    """The document that has to be in the store before a request is checked; None when none is needed."""
    for proof in list_proofs(source):
        if isinstance(proof, Certified):
            return want_certificate(proof, source, request, now)
        if isinstance(proof, WebToken):
            return want_keys(proof, source, request)
    return None


def wants_documents(source: Source) -> bool:
    """Whether `want` may want any."""
    return any(isinstance(proof, Certified | WebToken) for proof in list_proofs(source))


def find_signed(source: Source, request: SignedRequest, secrets: Sequence[str] = ()) -> Signed:
    """What is signed of a request that is genuine; nothing of one that cannot be."""
    proofs = list_proofs(source)
    for proof in proofs:
        if isinstance(proof, Certified):
            return find_certified(proof, secrets, request)
        if isinstance(proof, Recipe) and (len(proofs) == 1 or _signature_taker(proof)(_list_items(proof)(request))):
            time = "" if proof.time is None else find_text(proof, proof.time)(request)
            try:
                content = build_content(proof, source.url)(request, time)
            except ValueError:  # such a request cannot be signed
                return Signed(None, None)
            return Signed(content, read_time(time.strip()) if is_time_covered(proof) else None)
    return Signed(None, None)


def _build(proof: Proof, source: Source, secrets: Sequence[str], store: KeyStore) -> Check:
    match proof:
        case Recipe():
            return _build_recipe_check(proof, source, secrets)
        case Token():
            return build_token_check(proof, secrets)
        case Basic():
            return build_basic_check(secrets)
        case PayloadToken():
            return build_payload_token_check(proof, secrets)
        case Certified():
            return build_certified_check(proof, source, secrets, store)
        case WebToken():
            return build_web_token_check(proof, source, secrets, store)
        case Nothing():
            return lambda _request, _now: Verdict.GENUINE


def _build_recipe_check(recipe: Recipe, source: Source, secrets: Sequence[str]) -> Check:
    list_items, take_signatures = _list_items(recipe), _signature_taker(recipe)
    find_time, tolerance, is_signed = (
        _time_finder(recipe),
        tolerance_of(source, recipe),
        _signed(recipe, source, secrets),
    )
    # A time in a body that the signature covers is read only when that has been checked.
    is_late = recipe.time is not None and recipe.time.payload is not None and recipe.covers_body

    def check(request: SignedRequest, now: float) -> Verdict:
        items = list_items(request)
        candidates, time = take_signatures(items), ""
        if find_time is not None and not is_late:
            if not (time := find_time(request, items)):
                return Verdict.UNSIGNED
            if candidates and not is_recent(time, now, tolerance):
                return Verdict.STALE
        if not candidates:
            return Verdict.UNSIGNED
        if not is_signed(request, time, candidates):
            return Verdict.FORGED
        if is_late and find_time is not None and not is_recent(find_time(request, items), now, tolerance):
            return Verdict.STALE
        return Verdict.GENUINE

    return check


def _signed(recipe: Recipe, source: Source, secrets: Sequence[str]) -> Callable[[SignedRequest, str, list[str]], bool]:
    """Whether one of these signatures is that of a request with this time."""
    contents = [build_content(recipe, url) for url in list_urls(recipe, source.url)]
    decode, matches, has_digest = DECODERS[recipe.encoding], _matcher(recipe, secrets), recipe.body_digest is not None

    def is_signed(request: SignedRequest, time: str, candidates: list[str]) -> bool:
        signatures = [signature for text in candidates if (signature := decode(text)) is not None]
        for content in contents:
            try:
                signed = content(request, time)
            except ValueError:  # it cannot be read
                return False
            if matches(signed, signatures):
                return not has_digest or is_digest_right(recipe, request)
        return False

    return is_signed


def _list_items(recipe: Recipe) -> Callable[[SignedRequest], list[str]]:
    """How to find the parts of the signature's header, or what stands for it in the payload."""
    if recipe.in_payload is not None:
        where = Where(payload=recipe.in_payload)
        return lambda request: [value] if (value := find_value(where, request.headers, request.payload())) else []
    header, keeps_commas = recipe.header, "," in recipe.prefix
    return lambda request: split_header(request.headers, header, keeps_commas=keeps_commas)


def _signature_taker(recipe: Recipe) -> Callable[[list[str]], list[str]]:
    """How to take the signatures from the parts of the header."""
    prefix, length = recipe.prefix, len(recipe.prefix)
    return lambda items: [item[length:] for item in items if item.startswith(prefix) and len(item) > length]


def _time_finder(recipe: Recipe) -> Callable[[SignedRequest, list[str]], str] | None:
    """How to find the time of a request with these parts of the signature's header; None where it has none."""
    if recipe.time is None:
        return None
    if recipe.time.part is not None:
        part = recipe.time.part
        return lambda _, items: find_part(items, part)
    find = find_text(recipe, recipe.time)
    return lambda request, _: find(request)


def _has_key(recipe: Recipe, secret: str) -> bool:
    return (read_secret if recipe.is_symmetric else read_public_key)(recipe, secret) is not None


def _matcher(recipe: Recipe, secrets: Sequence[str]) -> _Matcher:
    """Whether one of the secrets has made one of the signatures of a content."""
    if not recipe.is_symmetric:
        return _public_matcher(recipe, secrets)
    algorithm = recipe.algorithm
    keys = [key for secret in secrets if (key := read_secret(recipe, secret)) is not None]

    def matches(content: bytes, signatures: Sequence[bytes]) -> bool:
        for key in keys:
            expected = hmac.digest(key, content, algorithm)
            for signature in signatures:
                if hmac.compare_digest(expected, signature):
                    return True
        return False

    return matches


def _public_matcher(recipe: Recipe, secrets: Sequence[str]) -> _Matcher:
    keys = [key for secret in secrets if (key := read_public_key(recipe, secret)) is not None]

    def matches(content: bytes, signatures: Sequence[bytes]) -> bool:
        for key in keys:
            for signature in signatures[:MAX_SIGNATURES]:
                try:
                    verify(key, signature, content)
                except InvalidSignature:
                    continue
                return True
        return False

    return matches
