"""Of the branches of a run, one may wait for a signal or for runs: `check` says so where two certainly would."""

import pytest

from tests.unit.loading.reading import problems

BRANCHES = "workflow: w\nsteps:\n  - parallel:\n      one: [{%s}]\n      two:\n        - {%s}\n"
OTHER = "---\nworkflow: asks\nsteps: [{log: a}, {id: inside, wait_for: a}]\n"
SAYS = "cannot wait at the same time: of the branches of a run, only one may wait for a signal or for runs"
HINT = "; schedule a workflow for each of them, and wait for the ends of these with one `wait_for_runs`"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("id: a, wait_for: a", "id: b, wait_for: b, timeout: 1d"),
        ("id: a, wait_for: a", "id: b, wait_for_runs: '${run.id}'"),
        ("id: a, wait_for: a", "each: [a, b], steps: [{log: '${item}'}, {id: b, wait_for: b}]"),
        ("id: a, trigger: asks", "id: b, trigger: asks"),
    ],
)
def test_two_branches_that_listen_are_refused_at_the_second(one: str, two: str) -> None:
    assert problems(f"{BRANCHES % (one, two)}{OTHER}") == [f"6: 'a' and 'b' {SAYS}{HINT}"]


def test_several_items_that_listen_at_once_are_refused() -> None:
    (problem,) = problems(
        "workflow: w\nsteps:\n  - each: [1, 2]\n    at_once: 2\n    steps:\n      - {id: a, wait_for: a}\n"
    )
    assert problem.startswith("6: 'a' cannot wait for several items at the same time")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("wait_for: a", "wait: 1d"),
        ("wait: 1d", "wait: 2d"),
        ("when: now != null, wait_for: a", "wait_for: b"),
        ("wait_for: a", "when: now != null, trigger: asks"),
        ("wait_for: a", "log: b"),
    ],
)
def test_what_may_go_well_is_left_alone(one: str, two: str) -> None:
    assert problems(f"{BRANCHES % (one, two)}{OTHER}") == []


def test_items_one_by_one_and_workflows_that_trigger_each_other_are_left_alone() -> None:
    assert problems("workflow: w\nsteps:\n  - each: [1, 2]\n    steps:\n      - {wait_for: a}\n") == []
    branches = "parallel: {one: [{trigger: %s}], two: [{log: a}]}"
    loop = f"workflow: %s\nsteps:\n  - {{when: now == null, trigger: %s}}\n  - {branches}\n"
    found = problems("---\n".join((loop % ("w", "v", "v"), loop % ("v", "w", "w"))))
    assert not any("at the same time" in one for one in found)
