"""Who is next, of the runs that wait for their turn: a pure decision over what is free in each scope."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

UNLIMITED = 1 << 31


@dataclass(frozen=True, slots=True)
class Room:
    """What is free in a scope. Where there is a line, only its `head` may pass."""

    free: int = UNLIMITED
    has_line: bool = False
    head: UUID | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A run that waits, in order of priority and position, with the scopes in which it has no place yet."""

    run_id: UUID
    priority: int
    position: int
    scopes: tuple[UUID, ...]


def choose(candidates: Iterable[Candidate], rooms: Mapping[UUID, Room]) -> list[Candidate]:
    """The candidates that start now: each takes one place in all of its scopes, or none in any."""
    free = {scope: room.free for scope, room in rooms.items()}
    chosen: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda candidate: (candidate.priority, candidate.position)):
        is_next = all(
            free[scope] > 0 and (not rooms[scope].has_line or rooms[scope].head == candidate.run_id)
            for scope in candidate.scopes
        )
        if is_next:
            chosen.append(candidate)
            for scope in candidate.scopes:
                free[scope] -= 1
    return chosen
