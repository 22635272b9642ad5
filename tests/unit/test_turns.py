"""Who is next, of the runs that wait under several limits."""

from uuid import UUID

from penstock.domain.turns import Candidate, Room, choose

A, B = UUID(int=1), UUID(int=2)


def candidate(number: int, *scopes: UUID, priority: int = 5) -> Candidate:
    return Candidate(UUID(int=100 + number), priority, number, scopes)


def numbers(chosen: list[Candidate]) -> list[int]:
    return [one.position for one in chosen]


def test_the_first_in_order_of_priority_and_position_take_what_is_free() -> None:
    waiting = [candidate(3, A), candidate(1, A), candidate(2, A, priority=0)]
    assert numbers(choose(waiting, {A: Room(2)})) == [2, 1]


def test_a_candidate_takes_all_its_places_or_none() -> None:
    waiting = [candidate(1, A, B), candidate(2, B), candidate(3, A)]
    assert numbers(choose(waiting, {A: Room(1), B: Room(0)})) == [3]


def test_only_the_head_of_a_line_passes() -> None:
    waiting = [candidate(1, A, priority=0), candidate(2, A)]
    assert numbers(choose(waiting, {A: Room(has_line=True, head=UUID(int=102))})) == [2]
    assert choose(waiting, {A: Room(has_line=True, head=None)}) == []
