"""Encryption at rest: AES-256-GCM under the keys of PENSTOCK_SECRET_KEY, of which the first encrypts and every one
decrypts.

What is encrypted is bound to the place it belongs to, so that a row copied to another name does not decrypt there. A
key is known by its id, the beginning of a hash: stored beside what it encrypted, it says which key is missing without
saying anything about it.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
HOW_TO_MAKE_ONE: Final = "make one with: openssl rand -base64 32"
_NONCE_BYTES: Final = 12
_SEALED: Final = re.compile(r"sealed\.([0-9a-f]{8})\.([A-Za-z0-9_-]{38,})", re.ASCII)
"""Only what needs no escape in JSON, URLs and forms, so that it is recognized inside other texts."""


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
        self._last = keys[-1]

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, that of the encrypting one first."""
        return tuple(self._keys)

    def encrypt(self, text: str, place: str) -> Sealed:
        """`text`, for `place` alone, under the first key."""
        nonce = os.urandom(_NONCE_BYTES)
        return Sealed(self.first_id, nonce + self._keys[self.first_id].encrypt(nonce, text.encode(), place.encode()))

    def sign(self, content: bytes) -> bytes:
        """A hash of `content` that nobody can try guesses against who does not have the keys. The last key makes it, so
        that it stays the same while a new one is put before.
        """
        return hmac.digest(self._last, b"penstock hash\x00" + content, "sha256")

    def decrypt(self, sealed: Sealed, place: str) -> str:
        """What was encrypted for `place`. Raises Undecryptable."""
        key = self._keys.get(sealed.key_id)
        if key is None:
            raise Undecryptable
        try:
            return key.decrypt(sealed.content[:_NONCE_BYTES], sealed.content[_NONCE_BYTES:], place.encode()).decode()
        except (InvalidTag, ValueError):
            raise Undecryptable from None


def seal(keyring: Keyring, text: str, place: str) -> str:
    """`text` encrypted for `place` alone, as a text that stands wherever a text may stand."""
    key_id, content = keyring.encrypt(text, place)
    return f"sealed.{key_id}.{base64.urlsafe_b64encode(content).rstrip(b'=').decode()}"


def unseal(keyring: Keyring, sealed: str, place: str) -> str:
    """What was sealed for `place`. Raises Undecryptable, also for a text that is not sealed."""
    found = _SEALED.fullmatch(sealed)
    if found is None:
        raise Undecryptable
    return _open(keyring, found, place)


def unseal_within(keyring: Keyring, text: str, place: str) -> str:
    """`text` in which all that was sealed for `place` is replaced by what it was; the rest stays."""

    def replace(found: re.Match[str]) -> str:
        try:
            return _open(keyring, found, place)
        except Undecryptable:
            return found[0]

    return _SEALED.sub(replace, text)


def is_sealed(text: str) -> bool:
    """Whether `text` has the form of something sealed."""
    return _SEALED.fullmatch(text) is not None


def _open(keyring: Keyring, found: re.Match[str], place: str) -> str:
    try:
        content = base64.urlsafe_b64decode(found[2] + "=" * (-len(found[2]) % 4))
    except ValueError:
        raise Undecryptable from None
    return keyring.decrypt(Sealed(found[1], content), place)


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
