"""Whether a step's changes can meet a trigger's condition: decided by trying values, and true where it cannot be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from penstock.definitions.models import Operation, Step, StepAction
from penstock.expressions import compile_expression
from penstock.reading.lints.meeting import can_meet


def update(**values: JsonValue) -> Step:
    return Step(id="s", action=StepAction.UPDATE, arguments={"set": values})


@pytest.mark.parametrize(
    ("when", "is_met"),
    [
        (None, True),
        ("after.note != before.note", True),
        ("after.total != before.total", False),
        ("after.total > 100 and before.total <= 100", False),
        ("after.total > 100", True),
        ("after.note == 'x' and before.total != after.total", False),
        ("after.note == 'y'", False),
        ("before.note == 'x' and after.note != 'x'", False),
        ("len(after.note) > 3", True),
        ("contains(after.note, 'z')", True),
        ("after.place.lat != before.place.lat", True),
        ("after != before", True),
        ("before != null and after.total != before.total", False),
        ("after.a != before.a or after.b != before.b or after.c != before.c", False),
        ("this is not an expression", True),
    ],
)
def test_a_literal_note_is_all_that_changes(when: str | None, is_met: bool) -> None:
    assert can_meet(update(note="x"), Operation.UPDATE, when) is is_met


def test_too_many_fields_to_try_are_met() -> None:
    names = "abcdefgh"
    when = " and ".join(f"after.{name} != before.{name}" for name in names)

    assert can_meet(update(**dict.fromkeys(names, "${params.x}")), Operation.UPDATE, when)


_VALUES = st.sampled_from([None, True, False, 0, 1, 2, 3, "x", "y"])
_COMPARISONS = st.builds(
    "{}.{} {} {}".format,
    st.sampled_from(["before", "after"]),
    st.sampled_from(["note", "total"]),
    st.sampled_from(["==", "!="]),
    st.sampled_from(["null", "true", "1", "2", "'x'", "before.total", "after.note"]),
)


@given(
    parts=st.lists(_COMPARISONS, min_size=1, max_size=3),
    glue=st.sampled_from([" and ", " or "]),
    before=st.fixed_dictionaries({"note": _VALUES, "total": _VALUES}),
)
def test_what_is_said_never_to_be_met_is_not_met_by_any_values(
    parts: list[str], glue: str, before: dict[str, JsonValue]
) -> None:
    when = glue.join(parts)
    after: dict[str, JsonValue] = {**before, "note": "x"}

    is_met = compile_expression(when).holds({"before": before, "after": after})
    assert can_meet(update(note="x"), Operation.UPDATE, when) or not is_met
