"""Run ids: sortable by the time their chain began, and derivable, so the same request can never make a second run.

The layout is that of a UUID version 8 (RFC 9562): 48 bits of milliseconds, then 74 bits that are random (a root run) or
a hash of (parent, key) (a child). A child takes its parent's milliseconds, so all ids of a chain lie side by side in
the index; the run of a recurrence's tick takes those of the tick.
"""

import hashlib
import secrets
import struct
import time
from datetime import UTC, datetime
from typing import Final, NewType
from uuid import UUID, SafeUUID

RunId = NewType("RunId", UUID)
ChainId = NewType("ChainId", UUID)
ListId = NewType("ListId", UUID)

_VERSION = 0x8 << 76
_VARIANT = 0x2 << 62
_RANDOM_A = (1 << 12) - 1
_RANDOM_B = (1 << 62) - 1
_set: Final = object.__setattr__


def new_run_id() -> RunId:
    """A fresh id for a root run (or a delivery, a list): the current time and 74 random bits."""
    return RunId(_compose(time.time_ns() // 1_000_000, _draw()))


def child_run_id(parent: UUID, key: str) -> RunId:
    """The id of the run that `parent` schedules under `key` (a step's path, or an index in a list): always the same."""
    digest = hashlib.blake2b(parent.bytes + key.encode(), digest_size=16).digest()
    return RunId(_compose(parent.int >> 80, int.from_bytes(digest, "big")))


def bounds_of_chain(chain_id: UUID) -> tuple[UUID, UUID]:
    """The least and the greatest id that a run of this chain has, unless it was scheduled under a key of its author."""
    first = chain_id.int >> 80 << 80
    return UUID(int=first), UUID(int=first | ((1 << 80) - 1))


def keyed_run_id(environment: str, workflow: str, key: str) -> RunId:
    """The id of the run that an author's idempotency key stands for: the same whichever run asks for it."""
    digest = hashlib.blake2b(f"{environment}\x00{workflow}\x00key\x00{key}".encode(), digest_size=16).digest()
    return RunId(_compose(int.from_bytes(digest[:6], "big"), int.from_bytes(digest, "big")))


def keyed_list_id(environment: str, key: str) -> UUID:
    """The id of the list that a request with this idempotency key begins. No workflow is named like that."""
    return keyed_run_id(environment, "lists/", key)


def recurrence_id(environment: str, workflow: str, key: str) -> UUID:
    """The id of a workflow's recurrence: the same whenever it is set again. One workflow's differ by `key`."""
    digest = hashlib.blake2b(f"{environment}\x00{workflow}\x00{key}".encode(), digest_size=16).digest()
    return _compose(int.from_bytes(digest[:6], "big"), int.from_bytes(digest, "big"))


def tick_run_id(recurrence: UUID, tick_at: datetime) -> RunId:
    """The id of the run that a recurrence starts at one tick: always the same, no matter which scheduler starts it."""
    digest = hashlib.blake2b(recurrence.bytes + tick_at.astimezone(UTC).isoformat().encode(), digest_size=16).digest()
    return RunId(_compose(int(tick_at.timestamp() * 1000), int.from_bytes(digest, "big")))


def new_thing_id() -> str:
    """An id in Bubble's form, `1700000000000x123456789012345678`: milliseconds, `x`, eighteen digits."""
    milliseconds = time.time_ns() // 1_000_000
    try:
        return f"{milliseconds}x{_digits.pop()}"
    except IndexError:
        _digits.extend(_draw_digits(_PAGE))
        return f"{milliseconds}x{_digits.pop()}"


def new_thing_ids(count: int) -> list[str]:
    """This many ids for things that are made at once, rising, so that these sort by id as they stand in their list."""
    milliseconds = time.time_ns() // 1_000_000
    return [f"{milliseconds}x{digits}" for digits in sorted(_draw_digits(count))]


_noise: Final[list[int]] = []
_digits: Final[list[int]] = []
_PAGE: Final = 256


def _draw_digits(count: int) -> list[int]:
    """This many random numbers of eighteen digits."""
    noise = struct.unpack(f"{count}Q", secrets.token_bytes(8 * count))
    return [bits % (9 * 10**17) + 10**17 for bits in noise]


def _draw() -> int:
    """128 random bits, drawn from the system by the page: one by one they would cost more than the rest of an id."""
    try:
        return _noise.pop()
    except IndexError:
        page = secrets.token_bytes(16 * _PAGE)
        _noise.extend(int.from_bytes(page[start : start + 16]) for start in range(16, len(page), 16))
        return int.from_bytes(page[:16])


def digest_id(digest: bytes) -> UUID:
    """A hash of 16 bytes as an id, as it is."""
    return _make(int.from_bytes(digest))


def _compose(milliseconds: int, noise: int) -> UUID:
    low = noise & _RANDOM_B
    middle = (noise >> 62) & _RANDOM_A
    return _make((milliseconds & ((1 << 48) - 1)) << 80 | _VERSION | middle << 64 | _VARIANT | low)


def _make(number: int) -> UUID:
    # As UUID(int=…), without its checks of what it is given, which cost more than the rest: 0.22 µs instead of 0.53.
    made = object.__new__(UUID)
    _set(made, "int", number)
    _set(made, "is_safe", SafeUUID.unknown)
    return made
