"""JSON Web Keys (RFC 7517) and the algorithms that may be used with them."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWKError
from jwt.algorithms import Algorithm, get_default_algorithms
from jwt.exceptions import InvalidKeyError

MAX_KEYS: Final = 100
MIN_KEY_BITS: Final = 2048
_FAMILIES: Final[Mapping[str, frozenset[str]]] = {
    "RSA": frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    "EC": frozenset({"ES256", "ES384", "ES512"}),
    "OKP": frozenset({"EdDSA"}),
}
"""By the type of a key. A shared key (`oct`) is never one of a set: who may read the set could sign."""
ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    name: algorithm
    for name, algorithm in get_default_algorithms().items()
    if any(name in family for family in _FAMILIES.values())
}


class WebKey(NamedTuple):
    """A public key, and the algorithms with which it signs."""

    id: str | None
    algorithms: frozenset[str]
    key: Any  # whichever class the algorithm has; only the algorithm looks at it


class KeySet(NamedTuple):
    """The keys of an issuer."""

    keys: tuple[WebKey, ...]

    def has(self, key_id: str | None) -> bool:
        """Whether a key has this id; without one, any will do."""
        return key_id is None or any(key.id == key_id for key in self.keys)

    def find(self, key_id: str | None, algorithm: str) -> Iterator[WebKey]:
        """The keys that may have signed."""
        for key in self.keys:
            if algorithm in key.algorithms and (key_id is None or key.id is None or key.id == key_id):
                yield key


def read_key_set(data: bytes) -> KeySet:
    """The keys of a JSON Web Key Set that can be used to verify. Raises ValueError when there are none."""
    document = orjson.loads(data)
    given = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(given, list) or len(given) > MAX_KEYS:
        raise ValueError(f"this is not a set of at most {MAX_KEYS} keys")
    keys = tuple(key for one in given if isinstance(one, dict) and (key := _read_key(one)) is not None)
    if not keys:
        raise ValueError("no key of the set can be used to verify")
    return KeySet(keys)


def _read_key(given: dict[str, Any]) -> WebKey | None:
    family, algorithm, id = _FAMILIES.get(str(given.get("kty")), frozenset()), given.get("alg"), given.get("kid")
    if algorithm is not None:
        family &= {algorithm} if isinstance(algorithm, str) else frozenset()
    if not family or given.get("use", "sig") != "sig" or not isinstance(id, str | None):
        return None
    try:
        key = PyJWK.from_dict(given).key
    except (PyJWKError, InvalidKeyError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < MIN_KEY_BITS:
        return None
    return WebKey(id, frozenset(family), key)
