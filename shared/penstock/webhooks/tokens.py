"""Proofs that sign nothing: a secret in a header, in the payload, or as a password. Compared in constant time."""

import hmac
from collections.abc import Iterable, Sequence
from typing import Final

from penstock.webhooks.keys import from_base64
from penstock.webhooks.places import count_items, find_values
from penstock.webhooks.recipes import PayloadToken, Token, Where
from penstock.webhooks.requests import Check, SignedRequest, Verdict

_BASIC: Final = "basic"


def build_token_check(proof: Token, secrets: Sequence[str]) -> Check:
    """Whether a header holds one of the secrets. The case of a scheme before it (`Bearer`) does not matter."""
    keys, prefix = _encode(secrets), proof.prefix.lower()

    def check(request: SignedRequest, _now: float) -> Verdict:
        values = [value.strip(" ") for value in request.headers.getall(proof.header, ())]
        given = [value[len(prefix) :].strip(" ") for value in values if value.lower().startswith(prefix)]
        return _compare(keys, [value for value in given if value])

    return check


def build_basic_check(secrets: Sequence[str]) -> Check:
    """Whether the user and the password are one of the secrets (RFC 7617)."""
    keys = _encode(secrets)

    def check(request: SignedRequest, _now: float) -> Verdict:
        scheme, _, encoded = request.headers.get("Authorization", "").strip(" ").partition(" ")
        given = from_base64(encoded.strip(" ")) if scheme.lower() == _BASIC else None
        return Verdict.UNSIGNED if not given else _verdict(_matches(keys, given))

    return check


def build_payload_token_check(proof: PayloadToken, secrets: Sequence[str]) -> Check:
    """Whether every item of the payload holds one of the secrets."""
    keys, where = _encode(secrets), Where(payload=proof.payload)
    items = Where(payload=proof.payload.rpartition(".")[0])

    def check(request: SignedRequest, _now: float) -> Verdict:
        payload = request.payload()
        given = find_values(where, request.headers, payload)
        if not given:
            return Verdict.UNSIGNED
        is_complete = len(given) == count_items(items, payload)
        return _verdict(is_complete and all(_matches(keys, value.encode()) for value in given))

    return check


def _compare(keys: Iterable[bytes], given: Sequence[str]) -> Verdict:
    if not given:
        return Verdict.UNSIGNED
    return _verdict(any(_matches(keys, value.encode("utf-8", "surrogateescape")) for value in given))


def _matches(keys: Iterable[bytes], given: bytes) -> bool:
    return any(hmac.compare_digest(key, given) for key in keys)


def _verdict(is_genuine: bool) -> Verdict:
    return Verdict.GENUINE if is_genuine else Verdict.FORGED


def _encode(secrets: Sequence[str]) -> list[bytes]:
    return [secret.encode() for secret in secrets]
