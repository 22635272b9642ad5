"""Encryption at rest: AES-256-GCM under the keys of PENSTOCK_SECRET_KEY, of which the first encrypts and every one
decrypts.

What is encrypted is bound to the place it belongs to, so that a row copied to another name does not decrypt there. A
key is known by its id, the beginning of a hash: stored beside what it encrypted, it says which key is missing without
saying anything about it.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
HOW_TO_MAKE_ONE: Final = "make one with: openssl rand -base64 32"
_NONCE_BYTES: Final = 12


class Sealed(NamedTuple):
    """Something encrypted, and the id of the key that did it."""

    key_id: str
    content: bytes


class Undecryptable(Exception):
    """None of the keys decrypts it: its key is not among them, or it was changed."""


class Keyring:
    """The keys of an installation."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {_name(key): AESGCM(key) for key in keys}
        self.first_id = _name(keys[0])

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, that of the encrypting one first."""
        return tuple(self._keys)

    def encrypt(self, text: str, place: str) -> Sealed:
        """`text`, for `place` alone, under the first key."""
        nonce = os.urandom(_NONCE_BYTES)
        return Sealed(self.first_id, nonce + self._keys[self.first_id].encrypt(nonce, text.encode(), place.encode()))

    def decrypt(self, sealed: Sealed, place: str) -> str:
        """What was encrypted for `place`. Raises Undecryptable."""
        key = self._keys.get(sealed.key_id)
        if key is None:
            raise Undecryptable
        try:
            return key.decrypt(sealed.content[:_NONCE_BYTES], sealed.content[_NONCE_BYTES:], place.encode()).decode()
        except (InvalidTag, ValueError):
            raise Undecryptable from None


def parse_keyring(text: str) -> Keyring:
    """The keys in PENSTOCK_SECRET_KEY: each 32 bytes in base64, several separated by commas. Raises ValueError, never
    with a key in it.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise ValueError(f"it is empty; {HOW_TO_MAKE_ONE}")
    return Keyring([_parse_key(part, f"key {number} of {len(parts)}") for number, part in enumerate(parts, 1)])


def make_key() -> str:
    """A new key, as PENSTOCK_SECRET_KEY takes it."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def _parse_key(text: str, which: str) -> bytes:
    try:
        key = base64.b64decode(
            text.replace("-", "+").replace("_", "/").rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True
        )
    except (binascii.Error, ValueError):
        raise ValueError(f"{which} is not base64; {HOW_TO_MAKE_ONE}") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"{which} has {len(key)} bytes and needs {KEY_BYTES}; {HOW_TO_MAKE_ONE}")
    return key


def _name(key: bytes) -> str:
    return hashlib.sha256(b"penstock secret key\x00" + key).hexdigest()[:8]
