"""Whether a webhook comes from who it says: HMAC over the raw bytes, compared in constant time, before anything is
parsed.

Schemes: Stripe (https://docs.stripe.com/webhooks/signature), GitHub (`X-Hub-Signature-256`) and a general one for the
many senders who sign a template of the request's parts. Several secrets (rotation) and several signatures are tried;
what is malformed does not match, and a time that is off in either direction is refused.
"""

import binascii
import hmac
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from multidict import MultiMapping

from penstock.definitions.models import Source
from penstock.definitions.sources import is_time_signed
from penstock.domain.moments import read_iso

STRIPE_TOLERANCE_SECONDS: Final = 300.0
_PLACEHOLDER: Final = re.compile(r"\{(body|timestamp|id|url|method|path)\}")
_SECONDS: Final = re.compile(r"\d{1,11}", re.ASCII)
_MILLISECONDS: Final = re.compile(r"\d{12,15}", re.ASCII)


class Verdict(StrEnum):
    """What came of checking a request. Only `GENUINE` is let in; the others differ for the operator, never for the
    sender.
    """

    GENUINE = "genuine"
    UNSIGNED = "unsigned"
    STALE = "stale"
    FORGED = "forged"


class SignedRequest(NamedTuple):
    """What a signature may cover. `path` is as it was sent, without the query."""

    method: str
    path: str
    headers: MultiMapping[str]
    body: bytes


Check = Callable[[SignedRequest, float], Verdict]
"""Takes the request and the current time in seconds since 1970."""


class Signed(NamedTuple):
    """What the signature of a request covers, and when that was signed, in seconds since 1970, if it says so."""

    content: bytes
    moment: float | None


def find_signed(source: Source, request: SignedRequest) -> Signed:
    """What is signed of a request that is genuine."""
    if source.scheme == "stripe":
        time = _stripe_times(request)[0]
        return Signed(_stripe_content(time, request), _read_time(time))
    if source.scheme == "github":
        return Signed(request.body, None)
    header = source.timestamp.header if source.timestamp is not None and is_time_signed(source) else None
    content = _template_content(_split_template(source.signed), source, request)
    return Signed(content, None if header is None else _read_time(request.headers.get(header, "").strip()))


def build_check(source: Source, secrets: Sequence[str]) -> Check:
    """The check of a source whose secrets are `secrets`; to be built once."""
    keys = [secret.encode() for secret in secrets]
    match source.scheme:
        case "stripe":
            return _stripe(source, keys)
        case "github":
            return _hmac(source.model_copy(update=_GITHUB), keys)
        case "hmac":
            return _hmac(source, keys)


_GITHUB: Final = {
    "header": "X-Hub-Signature-256", "prefix": "sha256=", "algorithm": "sha256", "encoding": "hex", "signed": "{body}",
    "timestamp": None,
}  # fmt: skip


def _stripe(source: Source, keys: Sequence[bytes]) -> Check:
    tolerance = source.timestamp.tolerance_seconds if source.timestamp else STRIPE_TOLERANCE_SECONDS

    def check(request: SignedRequest, now: float) -> Verdict:
        times, candidates = _stripe_times(request), _stripe_values(request, "v1")
        if not times or not candidates:
            return Verdict.UNSIGNED
        # With several times only the first is looked at, and that is the one which is signed.
        if not _is_recent(times[0], now, tolerance):
            return Verdict.STALE
        return _compare(keys, "sha256", _stripe_content(times[0], request), candidates, _DECODERS["hex"])

    return check


def _stripe_times(request: SignedRequest) -> list[str]:
    return _stripe_values(request, "t")


def _stripe_values(request: SignedRequest, wanted: str) -> list[str]:
    header = ",".join(request.headers.getall("Stripe-Signature", ()))
    pairs = (part.strip().partition("=") for part in header.split(","))
    return [value for name, _, value in pairs if name == wanted]


def _stripe_content(time: str, request: SignedRequest) -> bytes:
    return time.encode("utf-8", "surrogateescape") + b"." + request.body


def _hmac(source: Source, keys: Sequence[bytes]) -> Check:
    header, timestamp, decode = source.header or "", source.timestamp, _DECODERS[source.encoding]
    parts = _split_template(source.signed)

    def check(request: SignedRequest, now: float) -> Verdict:
        candidates = list(_candidates(request.headers.getall(header, ()), source.prefix))
        if not candidates:
            return Verdict.UNSIGNED
        if timestamp is not None and not _is_recent(
            request.headers.get(timestamp.header, ""), now, timestamp.tolerance_seconds
        ):
            return Verdict.STALE
        return _compare(keys, source.algorithm, _template_content(parts, source, request), candidates, decode)

    return check


def _template_content(parts: Sequence[bytes | str], source: Source, request: SignedRequest) -> bytes:
    return b"".join(part if isinstance(part, bytes) else _part(part, source, request) for part in parts)


def _candidates(values: Iterable[str], prefix: str) -> Iterator[str]:
    """The signatures in a header that may hold several, separated by spaces, semicolons or (unless the prefix has one)
    commas.
    """
    separator = r"[\s;]+" if "," in prefix else r"[\s;,]+"
    for value in values:
        for item in re.split(separator, value.strip()):
            if item.startswith(prefix) and len(item) > len(prefix):
                yield item[len(prefix) :]


def _compare(
    keys: Sequence[bytes],
    algorithm: str,
    signed: bytes,
    candidates: Iterable[str],
    decode: Callable[[str], bytes | None],
) -> Verdict:
    signatures = [signature for candidate in candidates if (signature := decode(candidate)) is not None]
    for key in keys:
        expected = hmac.digest(key, signed, algorithm)
        for signature in signatures:
            if hmac.compare_digest(expected, signature):
                return Verdict.GENUINE
    return Verdict.FORGED


def _is_recent(text: str, now: float, tolerance_seconds: float) -> bool:
    moment = _read_time(text.strip())
    return moment is not None and abs(now - moment) <= tolerance_seconds


def _read_time(text: str) -> float | None:
    """Seconds or milliseconds since 1970, or ISO 8601 with a zone."""
    if _SECONDS.fullmatch(text):
        return float(text)
    if _MILLISECONDS.fullmatch(text):
        return int(text) / 1000
    try:
        moment = read_iso(text)
        return moment.timestamp() if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _split_template(template: str) -> list[bytes | str]:
    """Literals (bytes) and names of parts of the request, in order: `re.split` with one group gives them in turn."""
    pieces = _PLACEHOLDER.split(template)
    return [piece if index % 2 else piece.encode() for index, piece in enumerate(pieces)]


def _part(name: str, source: Source, request: SignedRequest) -> bytes:
    match name:
        case "body":
            return request.body
        case "timestamp":
            return _header_bytes(request, source.timestamp.header if source.timestamp else None)
        case "id":
            return _header_bytes(request, source.deduplicate.header if source.deduplicate else None)
        case "url":
            # The address that was given to the sender, not one made from Host, which a proxy or an attacker may have
            # changed.
            return (source.url or "").encode()
        case "method":
            return request.method.encode()
        case _:
            return request.path.encode()


def _header_bytes(request: SignedRequest, name: str | None) -> bytes:
    return request.headers.get(name, "").encode("utf-8", "surrogateescape") if name else b""


def _from_hex(text: str) -> bytes | None:
    try:
        return binascii.unhexlify(text.encode("ascii"))
    except ValueError:
        return None


def _from_base64(text: str) -> bytes | None:
    stripped = text.rstrip("=")
    try:
        return b64decode(f"{stripped}{'=' * (-len(stripped) % 4)}".encode("ascii"), validate=True)
    except ValueError:
        return None


def _from_base64url(text: str) -> bytes | None:
    return None if "+" in text or "/" in text else _from_base64(text.replace("-", "+").replace("_", "/"))


_DECODERS: Final[dict[str, Callable[[str], bytes | None]]] = {
    "hex": _from_hex,
    "base64": _from_base64,
    "base64url": _from_base64url,
}
