"""Ids: sortable by the time their chain began, and derivable."""

import re
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.ids import child_run_id, new_run_id, new_thing_id

PARENT = UUID("01890a5d-ac96-8774-bcce-b302099a8057")


def test_run_ids_differ_and_sort_by_time() -> None:
    ids = [new_run_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    milliseconds = [run_id.int >> 80 for run_id in ids]
    assert milliseconds == sorted(milliseconds)


@given(st.text(), st.text())
def test_child_id_is_the_same_for_the_same_key_and_differs_for_another(one: str, other: str) -> None:
    assert child_run_id(PARENT, one) == child_run_id(PARENT, one)
    assert (child_run_id(PARENT, one) == child_run_id(PARENT, other)) == (one == other)


def test_child_lies_beside_its_parent_and_is_a_proper_uuid() -> None:
    child = child_run_id(PARENT, "next")
    assert child.int >> 80 == PARENT.int >> 80
    assert (child.version, child.variant) == (8, PARENT.variant)
    assert child_run_id(child, "next") != child


def test_child_id_never_changes_between_releases() -> None:
    assert child_run_id(PARENT, "next") == UUID("01890a5d-ac96-88b3-9605-d69a8134b785")


def test_thing_id_has_the_form_that_bubble_s_clients_know() -> None:
    assert re.fullmatch(r"\d{13}x\d{18}", new_thing_id())
    assert len({new_thing_id() for _ in range(1000)}) == 1000
