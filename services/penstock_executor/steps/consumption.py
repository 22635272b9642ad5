"""What a step adds to a run's workload (BUBBLE 6.2).

Every try of every step is an action. What it has consumed beyond that is counted once it has succeeded: from its
outcome and its result, by one of the functions here or by one beside the action, or by the action itself (`used` of the
outcome, for what nobody else knows: bytes of a call, things that were read on the way).
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from pydantic import JsonValue

from penstock import exact_json
from penstock.domain.workload import POSITIONS, Activity, Counts
from penstock_executor.steps.outcomes import Done, Outcome, Used, Write

Count = Callable[[Counts, Outcome, JsonValue], None]
"""Adds what an outcome and a result show to have been consumed."""
_WRITTEN: Final = POSITIONS[Activity.THING_WRITTEN]
_DELETED: Final = POSITIONS[Activity.THING_DELETED]
_RETURNED: Final = POSITIONS[Activity.THING_RETURNED]
_CHARACTERS: Final = POSITIONS[Activity.CHARACTER_RETURNED]
_SCHEDULED: Final = POSITIONS[Activity.ITEM_SCHEDULED]


class Consumption(NamedTuple):
    """What a kind of step adds to the workload: each try adds one to the counts in `begun`; `done` adds the rest on
    success.
    """

    begun: tuple[int, ...]
    done: Count | None = None


def consumption(*begun: Activity, done: Count | None = None) -> Consumption:
    """A try of the step is an action, and these activities beside."""
    return Consumption(tuple(POSITIONS[activity] for activity in (Activity.ACTION, *begun)), done)


ONE_ACTION: Final = consumption()
"""Nothing beyond being a step."""


def used_by_reading(things: Sequence[JsonValue], *, searches: int = 1) -> Used:
    """What it takes to read these things."""
    return {
        Activity.SEARCH: searches,
        Activity.THING_RETURNED: len(things),
        Activity.CHARACTER_RETURNED: _count_characters(things) if things else 0,
    }


def reported(counts: Counts, outcome: Outcome, _: JsonValue) -> None:
    """What the action itself reports."""
    if isinstance(outcome, Done | Write) and outcome.used is not None:
        for activity, number in outcome.used.items():
            counts[POSITIONS[activity]] += number


def one_written(counts: Counts, _: Outcome, __: JsonValue) -> None:
    """One thing was written."""
    counts[_WRITTEN] += 1


def written_if_any(counts: Counts, outcome: Outcome, _: JsonValue) -> None:
    """One thing was written, if there is one."""
    counts[_WRITTEN] += isinstance(outcome, Write)


def deleted_if_any(counts: Counts, outcome: Outcome, _: JsonValue) -> None:
    """One thing was deleted, if there is one."""
    counts[_DELETED] += isinstance(outcome, Write)


def one_scheduled(counts: Counts, _: Outcome, __: JsonValue) -> None:
    """One run was scheduled."""
    counts[_SCHEDULED] += 1


def add_written(counts: Counts, number: JsonValue) -> None:
    """This many things were written."""
    counts[_WRITTEN] += number if isinstance(number, int) else 0


def add_deleted(counts: Counts, number: JsonValue) -> None:
    """This many things were deleted."""
    counts[_DELETED] += number if isinstance(number, int) else 0


def add_scheduled(counts: Counts, number: int) -> None:
    """This many runs were scheduled."""
    counts[_SCHEDULED] += number


def add_returned(counts: Counts, number: int, shown: JsonValue) -> None:
    """This many things were read, which are shown like this."""
    if number:
        counts[_RETURNED] += number
        counts[_CHARACTERS] += _count_characters(shown)


def _count_characters(shown: JsonValue | Sequence[JsonValue]) -> int:
    """Bytes, to be exact: counting the characters would mean to decode them again."""
    return len(exact_json.dumps(shown))
