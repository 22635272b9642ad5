"""Workload: what runs and requests do, counted by activity. What each activity weighs is in `weights`.

Counts are kept as a list with a place per activity, because a run is metered in memory, step by step, and that must
cost next to nothing.
"""

from collections.abc import Mapping
from enum import StrEnum
from operator import add
from typing import Final


class Activity(StrEnum):
    """What is metered. `docs/operations.md` says where each of them happens."""

    RUN = "run"
    """A run ended. The published figures charge for what it does, not for it."""
    ACTION = "action"
    """A step was performed, or tried."""
    SEARCH = "search"
    THING_RETURNED = "thing_returned"
    """A thing was read by a search, or by its id."""
    CHARACTER_RETURNED = "character_returned"
    """A character of such a thing, as JSON."""
    AGGREGATE = "aggregate"
    """A count, sum, … over all that meets a condition."""
    GROUPED_AGGREGATE = "grouped_aggregate"
    """The same by groups."""
    THING_WRITTEN = "thing_written"
    THING_DELETED = "thing_deleted"
    CHANGE_EVALUATED = "change_evaluated"
    """A change trigger looked at a change."""
    API_REQUEST = "api_request"
    """A call of an API workflow, a webhook, or a request to the Data API."""
    API_BYTE = "api_byte"
    """A byte of a body, in or out, of such a request or of a call to the outside."""
    CALL = "call"
    """A call to the outside: HTTP, or a mail."""
    ITEM_SCHEDULED = "item_scheduled"
    PYTHON_CALL = "python_call"
    PYTHON_MILLISECOND = "python_millisecond"


Counts = list[int]
"""How often each activity happened, in the order of ACTIVITIES."""

ACTIVITIES: Final = tuple(Activity)
POSITIONS: Final[Mapping[Activity, int]] = {activity: position for position, activity in enumerate(ACTIVITIES)}
_NOTHING: Final = (0,) * len(ACTIVITIES)


def no_counts() -> Counts:
    """Nothing, yet."""
    return list(_NOTHING)


def add_counts(some: Counts, more: Counts) -> Counts:
    """Both together."""
    return list(map(add, some, more))


def shown_units(units: float) -> float:
    """Units as they are shown: without the digits that come of adding floats."""
    return round(units, 6)
