"""Signatures by the key of a certificate that the request names: PayPal's and those of AWS SNS."""

from binascii import crc32
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from pydantic import JsonValue

from penstock.definitions.sources import Source
from penstock.webhooks.certificates import is_trusted_url
from penstock.webhooks.keys import from_base64
from penstock.webhooks.recipes import Certified
from penstock.webhooks.requests import Check, Signed, SignedRequest, Verdict
from penstock.webhooks.stored_keys import KeyStore, Wanted
from penstock.webhooks.times import is_recent, read_time

_NOTIFICATION: Final = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION: Final = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_HASHES: Final[Mapping[object, type[HashAlgorithm]]] = {"1": SHA1, "2": SHA256}


class _Parts(NamedTuple):
    """What a request says of its signature. `contents` are what may be signed, one for each secret."""

    signature: bytes
    certificate_url: JsonValue
    hash: type[HashAlgorithm]
    time: str
    contents: tuple[bytes, ...]
    sender: str | None = None


def build_certified_check(proof: Certified, source: Source, secrets: Sequence[str], store: KeyStore) -> Check:
    """Whether the key of a trusted certificate has signed the request."""
    tolerance = proof.tolerance_seconds if source.tolerance_seconds is None else source.tolerance_seconds

    def check(request: SignedRequest, now: float) -> Verdict:
        parts = _READERS[proof.kind](request, secrets)
        if parts is None:
            return Verdict.UNSIGNED
        if not is_recent(parts.time, now, tolerance):
            return Verdict.STALE
        wanted = _want(proof, source, parts)
        key = None if wanted is None else store.find_certificate_key(wanted, now)
        if key is None or (source.senders and parts.sender not in source.senders):
            return Verdict.FORGED
        for content in parts.contents:
            try:
                key.verify(parts.signature, content, PKCS1v15(), parts.hash())
            except InvalidSignature:
                continue
            return Verdict.GENUINE
        return Verdict.FORGED

    return check


def want_certificate(proof: Certified, source: Source, request: SignedRequest, now: float) -> Wanted | None:
    """The certificate that is needed to check a request; None when it is refused without."""
    parts = _READERS[proof.kind](request, ["-"])
    tolerance = proof.tolerance_seconds if source.tolerance_seconds is None else source.tolerance_seconds
    if parts is None or not is_recent(parts.time, now, tolerance):
        return None
    return _want(proof, source, parts)


def find_certified(proof: Certified, secrets: Sequence[str], request: SignedRequest) -> Signed:
    """What is signed of a genuine request."""
    parts = _READERS[proof.kind](request, secrets)
    return Signed(None, None) if parts is None else Signed(parts.contents[0], read_time(parts.time))


def trusted_hosts(proof: Certified, source: Source) -> tuple[str, ...]:
    """Where certificates may come from."""
    return source.trust.hosts if source.trust is not None and source.trust.hosts else proof.hosts


def _want(proof: Certified, source: Source, parts: _Parts) -> Wanted | None:
    url = parts.certificate_url
    if not isinstance(url, str) or not is_trusted_url(url, trusted_hosts(proof, source)):
        return None
    if proof.kind == "sns" and not url.endswith(".pem"):
        return None
    return Wanted("certificate", url, None if source.trust is None else source.trust.ca)


def _read_paypal(request: SignedRequest, secrets: Sequence[str]) -> _Parts | None:
    """https://developer.paypal.com/api/rest/webhooks/rest/#link-eventheadervalidation"""
    headers = request.headers
    id, time = headers.get("PAYPAL-TRANSMISSION-ID"), headers.get("PAYPAL-TRANSMISSION-TIME")
    signature = from_base64(headers.get("PAYPAL-TRANSMISSION-SIG", ""))
    algorithm = headers.get("PAYPAL-AUTH-ALGO", "SHA256withRSA")
    if not id or not time or not signature or algorithm != "SHA256withRSA":
        return None
    checksum = crc32(request.body)
    contents = (f"{id}|{time}|{secret}|{checksum}".encode("utf-8", "surrogateescape") for secret in secrets)
    return _Parts(signature, headers.get("PAYPAL-CERT-URL"), SHA256, time, tuple(contents))


def _read_sns(request: SignedRequest, _secrets: Sequence[str]) -> _Parts | None:
    """https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message-verify-message-signature.html"""
    payload = request.payload()
    if not isinstance(payload, dict):
        return None
    texts = {name: value for name, value in payload.items() if isinstance(value, str)}
    signature, digest = from_base64(texts.get("Signature", "")), _HASHES.get(texts.get("SignatureVersion"))
    names = _NOTIFICATION if texts.get("Type") == "Notification" else _CONFIRMATION
    is_complete = all(name in texts for name in names if name != "Subject")
    if not signature or digest is None or not is_complete:
        return None
    content = "".join(f"{name}\n{texts[name]}\n" for name in names if name in texts).encode("utf-8", "surrogatepass")
    return _Parts(signature, texts.get("SigningCertURL"), digest, texts["Timestamp"], (content,), texts["TopicArn"])


_READERS: Final[Mapping[str, Callable[[SignedRequest, Sequence[str]], _Parts | None]]] = {
    "paypal": _read_paypal,
    "sns": _read_sns,
}
