"""What an action hands back. Actions decide; their callers commit, record and continue."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from penstock.contracts.messages import Contract
from penstock.domain.workload import Activity
from penstock_executor.effects import BulkEffect, Effect
from penstock_executor.runs import Values

Used = Mapping[Activity, int]
"""What only the action knows that it has consumed."""


@dataclass(frozen=True, slots=True)
class Done:
    """The step is done. `must_commit`: it had an effect outside of the database, so its record may not wait for
    anything else.

    For `return` and `state` the result is the mapping they give, for `log` and `stop` the text. `used` counts when the
    spec of the step says `reported`.
    """

    result: JsonValue = None
    must_commit: bool = False
    used: Used | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """The step changes the database. The commit tells its result, unless `is_known` beforehand; `nudge` is sent after
    it.
    """

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
    """The run gives up its place until a time, or until a signal with these members comes (`until` None: however long
    that takes).

    The attempt ends; the next one begins after this step.
    """

    until: datetime | None
    signal: str | None = None
    match: Values | None = None


@dataclass(frozen=True, slots=True)
class Coded:
    """The step calls a function of the app's, inside this run."""

    function: str
    arguments: Values


Outcome = Coded | Done | Write | Nested | Suspend
