"""What an action hands back. Actions decide; their callers commit, record and continue."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic import JsonValue

from penstock.contracts.messages import Contract
from penstock.domain.workload import Activity
from penstock.runs.requests import CheckedRun
from penstock_executor.effects import BulkEffect, Effect
from penstock_executor.runs import Values

Used = Mapping[Activity, int]
"""What only the action knows that it has consumed."""


@dataclass(slots=True)  # not frozen, which costs five times as much: each run or request makes some
class Done:
    """The step is done. `must_commit`: it had an outside effect, so its record is committed before anything else.

    For `return` and `state` the result is the mapping they give, for `log` and `stop` the text. `used` counts when the
    spec of the step says `reported`. `child` is a run to be admitted with the record.
    """

    result: JsonValue = None
    must_commit: bool = False
    used: Used | None = None
    child: CheckedRun | None = None


@dataclass(slots=True)  # not frozen, which costs five times as much: each run or request makes some
class Write:
    """The step changes the database. Its result comes from the commit unless `is_known`; `nudge` is sent afterwards."""

    effect: Effect | BulkEffect
    result: JsonValue = None
    is_known: bool = False
    nudge: Contract | None = None
    used: Used | None = None


@dataclass(frozen=True, slots=True)
class Nested:
    """The step performs another workflow, inside this run."""

    workflow: str
    parameters: Values


@dataclass(frozen=True, slots=True)
class Suspend:
    """The run gives up its slot until a time, a signal with these members, or the ends of the runs (or the list) that
    are `awaited`; `until` None waits without limit. With a `form` a link brings the signal, too.

    The attempt ends; the next one begins after this step.
    """

    until: datetime | None
    signal: str | None = None
    match: Values | None = None
    awaited: tuple[UUID, ...] = ()
    form: Values | None = None


@dataclass(frozen=True, slots=True)
class Coded:
    """The step calls a function of the app's, inside this run."""

    function: str
    arguments: Values


@dataclass(frozen=True, slots=True)
class Inside:
    """The step performs the steps inside it: for each of these items, which they see as `name`, at most `at_once` of
    them at a time; or, if `items` is None, those of all its branches at once.
    """

    items: list[JsonValue] | None = None
    name: str = "item"
    at_once: int = 1


Outcome = Coded | Done | Inside | Write | Nested | Suspend
