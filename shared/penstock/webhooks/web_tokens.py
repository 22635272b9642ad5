"""JSON Web Tokens (RFC 7519) as the proof of who sends: signature, issuer, audience and times. They do not cover the
body.

The algorithm is one that fits the key, not one that the token chooses: a public key is never taken for a shared secret,
and `none` is not one.
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from penstock.definitions.sources import Source
from penstock.webhooks.key_sets import ALGORITHMS
from penstock.webhooks.keys import DECODERS, ENCODERS
from penstock.webhooks.recipes import WebToken
from penstock.webhooks.requests import Check, SignedRequest, Verdict
from penstock.webhooks.stored_keys import KeyStore, Wanted

_SHARED: Final = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
_decode: Final = DECODERS["base64url"]


class Unchecked(NamedTuple):
    """What a token says, which anybody can have made; `signed` is what its signature is of."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes

    @property
    def key_id(self) -> str | None:
        """Which of the issuer's keys has signed, as far as it says."""
        id = self.header.get("kid")
        return id if isinstance(id, str) else None


def build_web_token_check(proof: WebToken, source: Source, secrets: Sequence[str], store: KeyStore) -> Check:
    """Whether the token of a request is one of the issuer's, for us, and valid now."""
    is_signed = _shared_check(secrets) if _keys_url(proof, source) is None else _public_check(proof, source, store)
    issuers = (source.issuer,) if source.issuer is not None else proof.issuers
    leeway = proof.tolerance_seconds if source.tolerance_seconds is None else source.tolerance_seconds

    def check(request: SignedRequest, now: float) -> Verdict:
        text = _bearer(request)
        if text is None:
            return Verdict.UNSIGNED
        token = read_web_token(text)
        if token is None or "crit" in token.header or not is_signed(token, now):
            return Verdict.FORGED
        claims = token.claims
        if claims.get("iss") not in issuers or not is_for(claims.get("aud"), source.audience):
            return Verdict.FORGED
        if not _is_by(claims, proof.senders, source.senders):
            return Verdict.FORGED
        return Verdict.GENUINE if is_valid_now(claims, now, leeway) else Verdict.STALE

    return check


def want_keys(proof: WebToken, source: Source, request: SignedRequest) -> Wanted | None:
    """The key set that is needed to check a request; None when none is, or it is refused without."""
    url, text = _keys_url(proof, source), _bearer(request)
    token = read_web_token(text) if url is not None and text is not None else None
    if url is None or token is None or token.header.get("alg") not in ALGORITHMS:
        return None
    return Wanted("keys", url, _authorities(source), token.key_id)


def make_shared_token(source: Source, secret: str, moment: float) -> str:
    """The token that a sender makes with a shared secret (HS256), valid for five minutes."""
    sender = {"sub": source.senders[0]} if source.senders else {}
    claims = {"iss": source.issuer, "aud": [*source.audience], "iat": int(moment), "exp": int(moment) + 300, **sender}
    signed = ".".join(_encode(orjson.dumps(part)) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{signed}.{_encode(hmac.digest(secret.encode(), signed.encode(), 'sha256'))}"


def _encode(data: bytes) -> str:
    return ENCODERS["base64url"](data).rstrip("=")


def _keys_url(proof: WebToken, source: Source) -> str | None:
    return source.jwks or proof.jwks


def _authorities(source: Source) -> str | None:
    return None if source.trust is None else source.trust.ca


def _bearer(request: SignedRequest) -> str | None:
    scheme, _, text = request.headers.get("Authorization", "").strip(" ").partition(" ")
    return text.strip(" ") if scheme.lower() == "bearer" and text.strip(" ") else None


def read_web_token(text: str) -> Unchecked | None:
    """The parts of a token; None for what is not one. Nothing of it is checked."""
    parts = text.split(".")
    if len(parts) != 3 or not text.isascii():
        return None
    decoded = [_decode(part) for part in parts]
    try:
        header, claims = (orjson.loads(part or b"") for part in decoded[:2])
    except ValueError:
        return None
    if not isinstance(header, dict) or not isinstance(claims, dict) or not decoded[2]:
        return None
    return Unchecked(header, claims, text.rpartition(".")[0].encode(), decoded[2])


def _shared_check(secrets: Sequence[str]) -> Callable[[Unchecked, float], bool]:
    keys = [secret.encode() for secret in secrets]

    def is_signed(token: Unchecked, _now: float) -> bool:
        digest = _SHARED.get(str(token.header.get("alg")))
        return digest is not None and any(
            hmac.compare_digest(hmac.digest(key, token.signed, digest), token.signature) for key in keys
        )

    return is_signed


def _public_check(proof: WebToken, source: Source, store: KeyStore) -> Callable[[Unchecked, float], bool]:
    wanted = Wanted("keys", _keys_url(proof, source) or "", _authorities(source))

    def is_signed(token: Unchecked, now: float) -> bool:
        name = token.header.get("alg")
        algorithm, key_set = ALGORITHMS.get(name) if isinstance(name, str) else None, store.find_key_set(wanted, now)
        if algorithm is None or key_set is None or not isinstance(name, str):
            return False
        return any(algorithm.verify(token.signed, one.key, token.signature) for one in key_set.find(token.key_id, name))

    return is_signed


def is_for(audience: object, ours: Sequence[str]) -> bool:
    """Whether one of the audiences of a token is ours."""
    given = audience if isinstance(audience, list) else [audience]
    return any(one in ours for one in given if isinstance(one, str))


def _is_by(claims: Mapping[str, Any], name: str, senders: Sequence[str]) -> bool:
    """Whether the sender is one of those that may send, if only some may. An address has to be verified."""
    if not senders:
        return True
    return claims.get(name) in senders and (name != "email" or claims.get("email_verified") is True)


def is_valid_now(claims: Mapping[str, Any], now: float, leeway: float) -> bool:
    """Whether the token says until when it is valid, and that time is not over; and it was not made in the future."""
    ends, starts = claims.get("exp"), [claims[name] for name in ("nbf", "iat") if name in claims]
    if not _is_time(ends) or not all(_is_time(start) for start in starts):
        return False
    return bool(now <= float(ends or 0) + leeway and all(now >= start - leeway for start in starts))


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
