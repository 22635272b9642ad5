"""What each activity weighs, in workload units (BUBBLE 6.2). An environment may differ from the published weights."""

from collections.abc import Mapping
from operator import mul
from typing import Final

from penstock.domain.workload import ACTIVITIES, Activity, Counts

Weights = tuple[float, ...]
"""What each activity weighs, in workload units, in the order of ACTIVITIES."""

MAX_WEIGHT: Final = 1_000_000.0

PUBLISHED_WEIGHTS: Final[Mapping[Activity, float]] = {
    Activity.RUN: 0.0,
    Activity.ACTION: 0.6,
    Activity.SEARCH: 0.3,
    Activity.THING_RETURNED: 0.015,
    Activity.CHARACTER_RETURNED: 0.000003,
    Activity.AGGREGATE: 0.2,
    Activity.GROUPED_AGGREGATE: 0.3,
    Activity.THING_WRITTEN: 0.5,
    Activity.THING_DELETED: 0.1,
    Activity.CHANGE_EVALUATED: 0.05,
    Activity.API_REQUEST: 0.01,
    Activity.API_BYTE: 0.000003,
    Activity.CALL: 0.1,
    Activity.ITEM_SCHEDULED: 0.1,
    Activity.PYTHON_CALL: 0.2,
    Activity.PYTHON_MILLISECOND: 0.0005,
}


def weigh(counts: Counts, weights: Weights) -> float:
    """The workload units of `counts`."""
    units: float = sum(map(mul, counts, weights))
    return units


def make_weights(changed: Mapping[str, float]) -> Weights:
    """The published weights, but for those in `changed`; what is not an activity of this release is left out."""
    return tuple(changed.get(activity.value, PUBLISHED_WEIGHTS[activity]) for activity in ACTIVITIES)
