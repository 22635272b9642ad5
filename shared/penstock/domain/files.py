"""Files as values: one that has just arrived, the name under which a file may be shown, and who may fetch a private
one: everyone who has a URL that was signed with the installation's key, until it expires.
"""

import hashlib
import hmac
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

_MAX_NAME: Final = 200


class NewFile(NamedTuple):
    """A file that came with a request, whole: its id, its name without folders, its media type, its bytes, and whether
    it is private: only those may fetch it who have a signed URL, or may see the thing with the id `attach_to`. The type
    of that is `attached_type`, once it was looked up.
    """

    id: UUID
    name: str
    content_type: str
    content: bytes
    is_private: bool = False
    attach_to: str | None = None
    attached_type: str | None = None


def plain_name(name: str) -> str:
    """A file's name without folders and without characters that have a meaning in headers, so that it can be shown
    anywhere.
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    return (
        "".join(character for character in last if character.isprintable() and character != '"').strip()[:_MAX_NAME]
        or "file"
    )


class Seal(NamedTuple):
    """What a signed URL carries: when it expires, in seconds since 1970, and the signature in hexadecimal."""

    expires: int
    signature: str


def seal_file(key: bytes, environment: str, id: UUID, expires_at: datetime) -> Seal:
    """Lets everyone who has it fetch this file until then."""
    expires = int(expires_at.timestamp())
    return Seal(expires, _sign(key, environment, id, expires))


def is_sealed(key: bytes, environment: str, id: UUID, seal: Seal, now: datetime) -> bool:
    """Whether the seal is ours, for this file, and has not expired."""
    is_ours = hmac.compare_digest(_sign(key, environment, id, seal.expires).encode(), seal.signature.encode())
    return is_ours and now.timestamp() < seal.expires


def _sign(key: bytes, environment: str, id: UUID, expires: int) -> str:
    # The same key signs the lineage of calls; what is signed there begins otherwise.
    return hmac.digest(key, f"penstock file {environment} {id} {expires}".encode(), hashlib.sha256).hex()
