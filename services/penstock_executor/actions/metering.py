"""What each kind of step adds to a run's workload (BUBBLE 6.2): one line per action, and a test that misses the line of
a new one.

Every try of every step is an action. What a step has consumed beyond that is told by its outcome or result; what only
the action itself knows (bytes of a call, things read on the way) it reports as `used`, where its line here says so.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import orjson
from pydantic import JsonValue

from penstock.definitions.models import StepAction
from penstock.domain.workload import POSITIONS, Activity, Counts
from penstock_executor.actions.steps import Consumption, Done, Outcome, Used, Write
from penstock_executor.runs import StoreList

_WRITTEN: Final = POSITIONS[Activity.THING_WRITTEN]
_DELETED: Final = POSITIONS[Activity.THING_DELETED]
_RETURNED: Final = POSITIONS[Activity.THING_RETURNED]
_CHARACTERS: Final = POSITIONS[Activity.CHARACTER_RETURNED]
_SCHEDULED: Final = POSITIONS[Activity.ITEM_SCHEDULED]


def used_by_reading(things: Sequence[JsonValue], *, searches: int = 1) -> Used:
    """What it takes to read these things."""
    return {
        Activity.SEARCH: searches,
        Activity.THING_RETURNED: len(things),
        Activity.CHARACTER_RETURNED: _characters(things) if things else 0,
    }


def _consumes(*begun: Activity) -> tuple[int, ...]:
    return tuple(POSITIONS[activity] for activity in (Activity.ACTION, *begun))


def _write_one(counts: Counts, _: Outcome, __: JsonValue) -> None:
    counts[_WRITTEN] += 1


def _delete_one(counts: Counts, _: Outcome, __: JsonValue) -> None:
    counts[_DELETED] += 1


def _write_each(counts: Counts, _: Outcome, ids: JsonValue) -> None:
    counts[_WRITTEN] += len(ids) if isinstance(ids, list) else 0


def _write_all(counts: Counts, _: Outcome, number: JsonValue) -> None:
    counts[_WRITTEN] += number if isinstance(number, int) else 0


def _delete_all(counts: Counts, _: Outcome, number: JsonValue) -> None:
    counts[_DELETED] += number if isinstance(number, int) else 0


def _write_imported(counts: Counts, _: Outcome, result: JsonValue) -> None:
    for name in ("created", "updated"):
        number = result.get(name) if isinstance(result, dict) else None
        counts[_WRITTEN] += number if isinstance(number, int) else 0


def _schedule_one(counts: Counts, _: Outcome, __: JsonValue) -> None:
    counts[_SCHEDULED] += 1


def _read_one(counts: Counts, outcome: Outcome, result: JsonValue) -> None:
    if result is not None:
        counts[_RETURNED] += 1
        counts[_CHARACTERS] += _characters(result)
    _report(counts, outcome, result)


def _read_page(counts: Counts, _: Outcome, result: JsonValue) -> None:
    things = result["results"] if isinstance(result, dict) else None
    if isinstance(things, list) and things:
        counts[_RETURNED] += len(things)
        counts[_CHARACTERS] += _characters(things)


def _schedule_items(counts: Counts, outcome: Outcome, result: JsonValue) -> None:
    if isinstance(outcome, Write) and isinstance(outcome.effect, StoreList):
        counts[_SCHEDULED] += len(outcome.effect.parameters)
    _report(counts, outcome, result)


def _report(counts: Counts, outcome: Outcome, _: JsonValue) -> None:
    """What the action itself says."""
    if isinstance(outcome, Done | Write) and outcome.used is not None:
        for activity, number in outcome.used.items():
            counts[POSITIONS[activity]] += number


def _characters(value: object) -> int:
    """Bytes, to be exact: counting the characters would mean to decode them again."""
    return len(orjson.dumps(value))


CONSUMPTION: Final[Mapping[StepAction, Consumption]] = {
    StepAction.CREATE: Consumption(_consumes(), _write_one),
    StepAction.UPDATE: Consumption(_consumes(), _write_one),
    StepAction.DELETE: Consumption(_consumes(), _delete_one),
    StepAction.CREATE_MANY: Consumption(_consumes(), _write_each),
    StepAction.UPDATE_MANY: Consumption(_consumes(Activity.SEARCH), _write_all),
    StepAction.DELETE_MANY: Consumption(_consumes(Activity.SEARCH), _delete_all),
    StepAction.COUNT: Consumption(_consumes(Activity.AGGREGATE)),
    StepAction.AGGREGATE: Consumption(_consumes(), _report),
    StepAction.EXPORT: Consumption(_consumes(), _report),
    StepAction.IMPORT: Consumption(_consumes(), _write_imported),
    StepAction.GET: Consumption(_consumes(), _read_one),
    StepAction.FIND: Consumption(_consumes(Activity.SEARCH), _read_page),
    StepAction.SCHEDULE: Consumption(_consumes(), _schedule_one),
    StepAction.SCHEDULE_LIST: Consumption(_consumes(), _schedule_items),
    StepAction.RECUR: Consumption(_consumes(), _schedule_one),
    StepAction.STOP_RECURRING: Consumption(_consumes()),
    StepAction.TRIGGER: Consumption(_consumes()),
    StepAction.RETURN: Consumption(_consumes()),
    StepAction.STATE: Consumption(_consumes()),
    StepAction.LOG: Consumption(_consumes()),
    StepAction.FAIL: Consumption(_consumes()),
    StepAction.STOP: Consumption(_consumes()),
    StepAction.WAIT: Consumption(_consumes(Activity.ITEM_SCHEDULED)),
    StepAction.WAIT_UNTIL: Consumption(_consumes(Activity.ITEM_SCHEDULED)),
    StepAction.WAIT_FOR: Consumption(_consumes(Activity.ITEM_SCHEDULED)),
    StepAction.CANCEL: Consumption(_consumes()),
    StepAction.RUN: Consumption(_consumes()),
    StepAction.HTTP: Consumption(_consumes(Activity.CALL), _report),
    StepAction.CALL: Consumption(_consumes(Activity.CALL), _report),
    StepAction.EMAIL: Consumption(_consumes(Activity.CALL)),
    StepAction.SEND: Consumption(_consumes(Activity.CALL), _report),
    StepAction.PUBLISH: Consumption(_consumes()),
}
"""By action. A new action needs its line: what does it consume, beyond being a step?"""
