"""A chain becomes a tree of few nodes: what is alike is folded, and what is not shown is counted."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.cycles import Cycle
from penstock.domain.pictures import Picture, SeenRun


def seen(
    number: int, parent: int | None, workflow: str, state: str = "succeeded", *, depth: int = 0, cut: str | None = None
) -> SeenRun:
    return SeenRun(UUID(int=number), None if parent is None else UUID(int=parent), workflow, state, depth, cut)


def draw(*runs: SeenRun) -> Picture:
    picture = Picture()
    picture.add(runs)
    return picture


def rows(picture: Picture, most: int = 500) -> list[tuple[int | None, str, str, int, int]]:
    return [
        (node.parent, node.fold.workflow, node.fold.state, node.fold.runs, node.hidden) for node in picture.take(most)
    ]


def test_siblings_of_one_workflow_and_state_are_one_node() -> None:
    items = [seen(number, 1, "item", depth=1) for number in range(2, 1002)]
    picture = draw(seen(1, None, "start"), *items, seen(1002, 1, "item", "failed", depth=1))
    assert rows(picture) == [
        (None, "start", "succeeded", 1, 0),
        (0, "item", "succeeded", 1000, 0),
        (0, "item", "failed", 1, 0),
    ]


def test_children_of_a_folded_node_are_folded_too() -> None:
    items = [seen(number, 1, "item", depth=1) for number in (2, 3)]
    mails = [seen(number + 10, number, "mail", depth=2) for number in (2, 3)]
    assert rows(draw(seen(1, None, "start"), *items, *mails))[-1] == (1, "mail", "succeeded", 2, 0)


def test_cut_runs_are_counted_by_what_has_cut_them() -> None:
    cut = [seen(number, 1, "again", "terminated", depth=1, cut="depth_limit") for number in (2, 3)]
    (_, node) = draw(seen(1, None, "start"), *cut).take(10)
    assert node.fold.cut == {"depth_limit": 2}


def test_nodes_beyond_the_bound_are_counted_where_they_are_missing() -> None:
    line = [seen(number, number - 1 or None, "again", depth=number - 1) for number in range(1, 3001)]
    picture = draw(*line)
    nodes = picture.take(200)
    assert len(nodes) == 200
    assert [node.hidden for node in nodes] == [0] * 199 + [2800]
    onwards = picture.take(200, picture.find_fold(UUID(int=201)))
    assert (onwards[0].parent, onwards[0].fold.first, len(onwards)) == (None, UUID(int=201), 200)


def test_the_cycle_at_the_end_of_the_deepest_path_is_named() -> None:
    names = ["start", *["create", "other"] * 5]
    path = [seen(number, number - 1 or None, name, depth=number - 1) for number, name in enumerate(names, start=1)]
    assert draw(*path, seen(99, 1, "mail", depth=1)).find_cycle() == Cycle(("create", "other"), 5)
    assert draw(seen(1, None, "start")).find_cycle() is None


def test_the_cycle_is_found_beside_runs_that_end_at_the_same_depth() -> None:
    line = [seen(number, number - 1 or None, "again", depth=number - 1) for number in range(1, 9)]
    beside = [seen(100 + number, 7, "mail", depth=7) for number in range(3)]
    assert draw(*line[:-1], *beside, line[-1]).find_cycle() == Cycle(("again",), 8)


def test_run_whose_parent_is_not_known_is_a_root() -> None:
    assert rows(draw(seen(1, None, "a"), seen(2, 50, "b", depth=3)))[1] == (None, "b", "succeeded", 1, 0)


def test_runs_of_another_depth_are_another_node() -> None:
    picture = draw(seen(1, None, "start"), *[seen(number, 1, "item", depth=number) for number in (2, 3)])
    assert picture.find_fold(UUID(int=2)) is not picture.find_fold(UUID(int=3))


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("ab"), st.sampled_from(["succeeded", "failed"]))))
def test_every_run_is_shown_or_counted_once(shape: list[tuple[int, str, str]]) -> None:
    runs = [seen(1, None, "start")]
    for number, (parent, workflow, state) in enumerate(shape, start=2):
        above = runs[parent % len(runs)]
        runs.append(SeenRun(UUID(int=number), above.id, workflow, state, above.depth + 1, None))
    picture = draw(*sorted(runs, key=lambda run: run.depth))
    for most in (1, 3, 500):
        assert sum(node.fold.runs + node.hidden for node in picture.take(most)) == len(runs)
