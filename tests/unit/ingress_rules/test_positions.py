"""Which positions of deep lists an ingress remembers."""

from penstock_ingress.accepting.positions import DEEP, Position, Positions


def test_the_nearest_position_that_is_not_behind_is_found() -> None:
    known = Positions()
    for before in (DEEP + 200, DEEP, DEEP + 100):
        known.note(("a",), before, f"t{before}")
    assert known.find(("a",), DEEP + 150) == Position(DEEP + 100, f"t{DEEP + 100}")
    assert known.find(("a",), DEEP + 100) == Position(DEEP + 100, f"t{DEEP + 100}")
    assert known.find(("a",), DEEP + 9_999) == Position(DEEP + 200, f"t{DEEP + 200}")
    assert known.find(("b",), DEEP + 100) is None
    known.note(("a",), DEEP + 100, "new")
    assert known.find(("a",), DEEP + 100) == Position(DEEP + 100, "new")
    known.forget(("a",))
    assert known.find(("a",), DEEP + 100) is None


def test_positions_that_bubble_has_too_are_counted() -> None:
    known = Positions()
    known.note(("a",), DEEP - 1, "t")
    known.note(("a",), DEEP + 1, None)
    assert known.find(("a",), DEEP + 1) is None
    known.note(("a",), DEEP, "t")
    assert known.find(("a",), DEEP - 1) is None


def test_memory_is_bounded() -> None:
    known = Positions()
    for number in range(1_100):
        known.note(("list", number), DEEP, "t")
    assert known.find(("list", 99), DEEP) is None
    assert known.find(("list", 100), DEEP) is not None
    for before in range(DEEP, DEEP + 300):
        known.note(("long",), before, "t")
    assert known.find(("long",), DEEP + 99) is None
    assert known.find(("long",), DEEP + 299) is not None
