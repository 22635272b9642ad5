"""The cycle at the end of a path is found and named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.cycles import Cycle, find_cycle


@pytest.mark.parametrize(
    ("path", "cycle"),
    [
        ("", None),
        ("a", None),
        ("a b c d", None),
        ("a b a", None),
        ("start a a", Cycle(("a",), 2)),
        ("a a a b", None),
        ("start x a b a b a", Cycle(("a", "b"), 2)),
        ("a b c a b c a b c", Cycle(("a", "b", "c"), 3)),
        ("root … a b a b", Cycle(("a", "b"), 2)),
    ],
)
def test_cycle_is_the_shortest_sequence_that_repeats_at_the_end(path: str, cycle: Cycle | None) -> None:
    assert find_cycle(path.split()) == cycle


def test_cycle_is_described_with_its_rounds() -> None:
    path = ["start", *["create_thing", "other"] * 5]
    cycle = find_cycle(path)
    assert cycle is not None
    assert cycle.describe() == "create_thing → other → create_thing, 5 times"


@given(st.lists(st.sampled_from("ab"), max_size=30))
def test_cycle_that_is_found_ends_the_path(path: list[str]) -> None:
    cycle = find_cycle(path)
    if cycle is not None:
        # The path may end within a round.
        rounds = list(cycle.workflows) * (cycle.rounds + 1)
        ends = [rounds[: cycle.rounds * len(cycle.workflows) + more] for more in range(len(cycle.workflows))]
        assert any(path[len(path) - len(end) :] == end for end in ends)
