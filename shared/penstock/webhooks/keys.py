"""Keys and signatures as text, and how they become bytes."""

import binascii
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from penstock.webhooks.recipes import Encoding, KeyForm, Recipe

PublicKey = Ed25519PublicKey | EllipticCurvePublicKey
_PEM: Final = "-----BEGIN"


def from_hex(text: str) -> bytes | None:
    """Bytes written in hexadecimal digits, small or capital; None for anything else, also for a mixture."""
    if text not in (text.lower(), text.upper()):
        return None
    try:
        return binascii.unhexlify(text.encode("ascii"))
    except ValueError:
        return None


def from_base64(text: str) -> bytes | None:
    """Bytes written in base64, with its padding or without; None for anything else, also for bits that say nothing."""
    stripped = text.rstrip("=")
    try:
        data = b64decode(f"{stripped}{'=' * (-len(stripped) % 4)}".encode("ascii"), validate=True)
    except ValueError:
        return None
    return data if b64encode(data).decode().rstrip("=") == stripped else None


def _from_base64url(text: str) -> bytes | None:
    return None if "+" in text or "/" in text else from_base64(text.replace("-", "+").replace("_", "/"))


DECODERS: Final[Mapping[Encoding, Callable[[str], bytes | None]]] = {
    "hex": from_hex,
    "base64": from_base64,
    "base64url": _from_base64url,
}
ENCODERS: Final[Mapping[Encoding, Callable[[bytes], str]]] = {
    "hex": bytes.hex,
    "base64": lambda data: b64encode(data).decode(),
    "base64url": lambda data: urlsafe_b64encode(data).decode(),
}
_KEY_DECODERS: Final[Mapping[KeyForm, Callable[[str], bytes | None]]] = {
    "text": str.encode,
    "hex": from_hex,
    "base64": from_base64,
}


def read_secret(recipe: Recipe, secret: str) -> bytes | None:
    """The key that a secret holds for a recipe; None when it is not one of its keys."""
    is_marked = bool(recipe.key_prefix) and secret.startswith(recipe.key_prefix)
    if recipe.is_key_marked and not is_marked:
        return None
    return _KEY_DECODERS[recipe.key](secret.removeprefix(recipe.key_prefix)) or None


def read_public_key(recipe: Recipe, secret: str) -> PublicKey | None:
    """The public key that a secret holds for a recipe, also as PEM; None when it does not."""
    data = secret.encode() if _PEM in secret else read_secret(recipe, secret.strip())
    try:
        if data is None:
            return None
        if recipe.algorithm == "ed25519" and len(data) == 32:
            return Ed25519PublicKey.from_public_bytes(data)
        key = load_pem_public_key(data) if _PEM in secret else load_der_public_key(data)
    except ValueError:
        return None
    if recipe.algorithm == "ed25519":
        return key if isinstance(key, Ed25519PublicKey) else None
    return key if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1) else None


def verify(key: PublicKey, signature: bytes, content: bytes) -> None:
    """Raises InvalidSignature unless the key's owner has signed the content."""
    if isinstance(key, Ed25519PublicKey):
        key.verify(signature, content)
    else:
        key.verify(signature, content, ECDSA(SHA256()))
