"""Hashes of passwords: argon2id with 64 MiB, three passes and four lanes, the second recommended option of RFC 9106,
section 4.

Nobody's password takes as long to check as somebody's. Either takes some 100 ms of a core and never belongs in an event
loop; the interpreter is free meanwhile.
"""

from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

MIN_CHARACTERS: Final = 8
"""NIST SP 800-63B, section 3.1.1.2: no rules about kinds of characters."""
MAX_BYTES: Final = 1024
_HASHER: Final = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4, hash_len=32, salt_len=16)
_NOBODYS: Final = "$argon2id$v=19$m=65536,t=3,p=4$cGVuc3RvY2tub2JvZHlzIQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"""A hash that no password is known to have."""


def find_password_problem(password: str) -> str | None:
    """Why this cannot become somebody's password, for the person who has chosen it; None when it can. How long it may
    be is checked where it is sealed.
    """
    return f"a password has at least {MIN_CHARACTERS} characters" if len(password) < MIN_CHARACTERS else None


def hash_password(password: str) -> str:
    """What is stored of a password, in the PHC string format: `$argon2id$v=19$m=65536,t=3,p=4$…`."""
    return _HASHER.hash(password)


def is_password(password: str, stored: str | None) -> bool:
    """Whether `stored` was made of this password. None is what is stored of nobody's, and takes as long."""
    try:
        _HASHER.verify(_NOBODYS if stored is None else stored, password)
    except VerifyMismatchError:
        return False
    return stored is not None
