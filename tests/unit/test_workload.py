"""Workload units: what each kind of step consumes, and how counts become units."""

import pytest
from pydantic import JsonValue

from penstock.definitions.models import StepAction
from penstock.domain.weights import PUBLISHED_WEIGHTS, make_weights, weigh
from penstock.domain.workload import ACTIVITIES, POSITIONS, Activity, add_counts, no_counts, shown_units
from penstock_executor.actions import SPECS
from penstock_executor.steps.consumption import used_by_reading
from penstock_executor.steps.outcomes import Done, Outcome


def test_every_activity_has_a_published_weight() -> None:
    assert PUBLISHED_WEIGHTS.keys() == set(Activity)


@pytest.mark.parametrize("action", StepAction)
def test_every_try_of_a_step_is_an_action(action: StepAction) -> None:
    assert POSITIONS[Activity.ACTION] in SPECS[action].consumes.begun


@pytest.mark.parametrize(
    ("activity", "weight"),
    [
        (Activity.ACTION, 0.6), (Activity.SEARCH, 0.3), (Activity.THING_RETURNED, 0.015), (Activity.CHARACTER_RETURNED,
        0.000003),
        (Activity.AGGREGATE, 0.2), (Activity.GROUPED_AGGREGATE, 0.3), (Activity.THING_DELETED, 0.1),
        (Activity.THING_WRITTEN, 0.5),
        (Activity.CHANGE_EVALUATED, 0.05), (Activity.API_REQUEST, 0.01), (Activity.API_BYTE, 0.000003), (Activity.CALL,
        0.1),
        (Activity.ITEM_SCHEDULED, 0.1), (Activity.PYTHON_CALL, 0.2), (Activity.PYTHON_MILLISECOND, 0.0005),
    ],
)  # fmt: skip
def test_activities_weigh_what_is_published(activity: Activity, weight: float) -> None:
    counts = no_counts()
    counts[POSITIONS[activity]] = 10
    assert weigh(counts, make_weights({})) == pytest.approx(10 * weight)


def test_changed_weights_stand_before_the_published_ones() -> None:
    counts = [1] * len(ACTIVITIES)
    changed = {Activity.RUN.value: 5.0, Activity.ACTION.value: 0.0, "of another release": 99.0}
    assert weigh(counts, make_weights(changed)) == pytest.approx(sum(PUBLISHED_WEIGHTS.values()) + 5.0 - 0.6)


def test_counts_add_up() -> None:
    assert add_counts([1] * len(ACTIVITIES), [2] * len(ACTIVITIES)) == [3] * len(ACTIVITIES)
    assert no_counts() is not no_counts()
    assert shown_units(0.1 + 0.2) == 0.3


def _consumed(action: StepAction, outcome: Outcome, result: JsonValue) -> dict[Activity, int]:
    counts = no_counts()
    consumption = SPECS[action].consumes
    for place in consumption.begun:
        counts[place] += 1
    if consumption.done is not None:
        consumption.done(counts, outcome, result)
    return {activity: count for activity, count in zip(ACTIVITIES, counts, strict=True) if count}


def test_searches_consume_by_what_they_return() -> None:
    things: list[JsonValue] = [{"_id": "1"}, {"_id": "2"}]
    page: JsonValue = {"results": things, "after": None, "remaining": 0}
    assert _consumed(StepAction.FIND, Done(page), page) == {
        Activity.ACTION: 1, Activity.SEARCH: 1, Activity.THING_RETURNED: 2, Activity.CHARACTER_RETURNED: 25,
    }  # fmt: skip
    assert _consumed(StepAction.GET, Done({"_id": "1"}), {"_id": "1"}) == {
        Activity.ACTION: 1, Activity.THING_RETURNED: 1, Activity.CHARACTER_RETURNED: 11,
    }  # fmt: skip
    assert _consumed(StepAction.GET, Done(None, used={Activity.SEARCH: 1}), None) == {
        Activity.ACTION: 1,
        Activity.SEARCH: 1,
    }
    assert used_by_reading([], searches=2) == {
        Activity.SEARCH: 2,
        Activity.THING_RETURNED: 0,
        Activity.CHARACTER_RETURNED: 0,
    }
