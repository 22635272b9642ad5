"""Keys that proofs need from outside, certificates and key sets, as they were fetched: parsed once, and kept within
bounds. Who fetches them is `penstock_ingress.accepting.keys`.
"""

import re
from collections import OrderedDict
from typing import Final, Literal, NamedTuple

import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from penstock.webhooks.certificates import read_signing_key
from penstock.webhooks.key_sets import KeySet, read_key_set

MAX_DOCUMENTS: Final = 200
MAX_DOCUMENT_BYTES: Final = 256 * 1024
FRESH_SECONDS: Final = 3600.0
"""How long a document is taken for current."""
STALE_SECONDS: Final = 24 * 3600.0
"""How long it is used all the same, while it cannot be fetched again."""
_HTTPS: Final = re.compile(r"https://[^\s/]", re.IGNORECASE)
_HTTP: Final = re.compile(r"https?://[^\s/]", re.IGNORECASE)
UNKNOWN_KEY_SECONDS: Final = 30.0
"""How often a key set is fetched again because somebody names a key that it does not have."""


class Wanted(NamedTuple):
    """A document that a proof needs. `ca` are the certificates (PEM) that have to vouch for it and for its server, None
    for those that the system trusts; `key_id` is the key of the set that is asked for, `issuer` whose document it has
    to be that says where the keys are.
    """

    kind: Literal["certificate", "keys", "discovery"]
    url: str
    ca: str | None = None
    key_id: str | None = None
    issuer: str | None = None

    @property
    def document(self) -> tuple[str, str | None]:
        """What is fetched and kept."""
        return self.url, self.ca


class _Kept(NamedTuple):
    key: RSAPublicKey | KeySet | str
    kept_at: float
    ends_at: float


class KeyStore:
    """The documents that this process has; those that were not used for longest go when there are too many."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str | None], _Kept] = OrderedDict()

    def is_current(self, wanted: Wanted, now: float) -> bool:
        """Whether it need not be fetched; `now` in seconds since 1970."""
        kept = self._find(wanted, now)
        if kept is None or now - kept.kept_at > FRESH_SECONDS:
            return False
        is_unknown = isinstance(kept.key, KeySet) and not kept.key.has(wanted.key_id)
        return not is_unknown or now - kept.kept_at < UNKNOWN_KEY_SECONDS

    def has(self, wanted: Wanted, now: float) -> bool:
        """Whether there is one that can be used, if need be."""
        return self._find(wanted, now) is not None

    def keep(self, wanted: Wanted, data: bytes, now: float) -> None:
        """Keep what was fetched. Raises ValueError when it is not what it should be."""
        if wanted.kind == "certificate":
            key, ends_at = read_signing_key(data, wanted.ca, now)
            kept = _Kept(key, now, min(ends_at, now + STALE_SECONDS))
        elif wanted.kind == "discovery":
            kept = _Kept(_read_keys_url(data, wanted.issuer), now, now + STALE_SECONDS)
        else:
            kept = _Kept(read_key_set(data), now, now + STALE_SECONDS)
        self._kept[wanted.document] = kept
        self._kept.move_to_end(wanted.document)
        while len(self._kept) > MAX_DOCUMENTS:
            self._kept.popitem(last=False)

    def find_certificate_key(self, wanted: Wanted, now: float) -> RSAPublicKey | None:
        """The key of a certificate that is valid now."""
        kept = self._find(wanted, now)
        return kept.key if kept is not None and isinstance(kept.key, RSAPublicKey) else None

    def find_key_set(self, wanted: Wanted, now: float) -> KeySet | None:
        """The set of keys."""
        kept = self._find(wanted, now)
        return kept.key if kept is not None and isinstance(kept.key, KeySet) else None

    def find_keys_url(self, wanted: Wanted, now: float) -> str | None:
        """Where an issuer keeps its keys, as its document says."""
        kept = self._find(wanted, now)
        return kept.key if kept is not None and isinstance(kept.key, str) else None

    def _find(self, wanted: Wanted, now: float) -> _Kept | None:
        kept = self._kept.get(wanted.document)
        if kept is None or now > kept.ends_at:
            return None
        self._kept.move_to_end(wanted.document)
        return kept


def _read_keys_url(data: bytes, issuer: str | None) -> str:
    """The `jwks_uri` of an issuer's document (OpenID Connect Discovery 1.0, section 3). Raises ValueError when it is of
    another issuer, and when the keys would come over http from one that is asked over https.
    """
    document = orjson.loads(data)
    if not isinstance(document, dict) or document.get("issuer") != issuer:
        raise ValueError(f"this is not the document of the issuer {issuer}")
    url = document.get("jwks_uri")
    is_plain = issuer is not None and issuer.lower().startswith("http:")
    if not isinstance(url, str) or not (_HTTPS if not is_plain else _HTTP).match(url):
        raise ValueError("its jwks_uri is not a URL with https")
    return url
