"""The depth rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.depth import MAX_DEPTH, depth_of, effective_limit, is_within_limit, parse_depth, reaches_warning

DEPTHS = st.integers(min_value=0, max_value=MAX_DEPTH)


def test_root_has_the_depth_it_claims_by_default_0() -> None:
    assert (depth_of(parent_depth=None), depth_of(parent_depth=None, claimed_depth=7)) == (0, 7)


@given(parent=DEPTHS, claimed=DEPTHS)
def test_child_is_always_deeper_than_its_parent_and_never_less_deep_than_claimed(parent: int, claimed: int) -> None:
    depth = depth_of(parent_depth=parent, claimed_depth=claimed)
    assert depth > parent
    assert depth >= claimed
    assert depth in {parent + 1, claimed}


@pytest.mark.parametrize(("depth", "is_within"), [(0, True), (9, True), (10, True), (11, False)])
def test_run_is_admitted_if_its_depth_is_at_most_the_limit(depth: int, is_within: bool) -> None:
    assert is_within_limit(depth, 10) is is_within


def test_workflows_own_limit_stands_before_the_environments_even_at_0() -> None:
    assert effective_limit(environment_limit=10, workflow_limit=None) == 10
    assert effective_limit(environment_limit=10, workflow_limit=0) == 0


@pytest.mark.parametrize(
    ("depth", "limit", "is_near"), [(7, 10, False), (8, 10, True), (11, 10, True), (0, 0, False), (399, 500, False)]
)
def test_chain_is_warned_of_at_80_percent(depth: int, limit: int, is_near: bool) -> None:
    assert reaches_warning(depth, limit) is is_near


@pytest.mark.parametrize("value", [True, False, "1", 1.0, None, -1, MAX_DEPTH + 1, b"1", [], 2**63])
def test_only_true_integers_in_range_are_depths(value: object) -> None:
    assert parse_depth(value) is None


@given(DEPTHS)
def test_every_depth_is_read_as_it_is(depth: int) -> None:
    assert parse_depth(depth) == depth
