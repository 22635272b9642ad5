"""What earlier attempts have done, and the steps that failed in this one.

A step that asks for a path that is finished gets what it got then: a result, or, if it had failed and the code
continued, the failure. When a step is to be performed although later ones are finished, or a path belongs to another
kind of step, the code does not do what it did before, and the run fails: nobody could know which result belongs where.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import JsonValue

from penstock.errors import Permanent, Transient
from penstock_executor.actions import SPECS
from penstock_executor.performing.journal import Position
from penstock_executor.python.paths import NamedStep
from penstock_executor.python.steps import Steps
from penstock_executor.runs import FinishedStep, StepRecord, Values
from penstock_executor.steps.specs import Becomes

_PAUSE: Final = "~"
"""Stands in the paths of waits between two tries of a step, which are not asked for."""
_LINES: Final = frozenset(action.value for action, spec in SPECS.items() if spec.becomes is Becomes.LINE)


class NonDeterministic(Permanent):
    """The code does not do what it did in an earlier attempt: the attempt ends."""


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """A step that failed, and what was raised. `noticed` counts the calls up to then."""

    error: Permanent | Transient
    position: Position
    started_at: datetime
    noticed: int


class Past:
    """What earlier attempts have done, by path. `unasked` are the paths that this attempt has not asked for."""

    def __init__(self, steps: Steps, past: dict[str, FinishedStep]) -> None:
        self._steps = steps
        self._past = past
        self._unasked = {path for path in past if _PAUSE not in path}
        self._faults: list[Fault] = []

    def note(self, step: NamedStep) -> None:
        """The code asks for this step."""
        self._unasked.discard(step.path)

    def is_finished(self, step: NamedStep) -> bool:
        """Whether an earlier attempt has finished it. Raises its error if it failed; NonDeterministic if the code
        changed course.
        """
        if self._steps.is_finished(step.path):
            past = self._past.get(step.path)
            if past is not None and past.action != step.kind:
                raise _went_astray(
                    step, f"{step.path} was a step of the kind {past.action!r}, and now it is {step.kind!r}"
                )
            if past is not None and isinstance(past.error, dict):
                raise _restore(step, past.error)
            return True
        if step.kind not in _LINES:
            for path in self._unasked:
                if path.startswith(step.scope.prefix) and "/" not in path.removeprefix(step.scope.prefix):
                    raise _went_astray(step, f"{path} was performed then, and now {step.path} comes before it")
        return False

    def add_fault(self, step: NamedStep, error: Permanent | Transient, started_at: datetime, noticed: int) -> None:
        """Note a step that failed: what becomes of it depends on whether the code continues."""
        position = Position(step.path, error.place or step.place, step.kind)
        self._faults.append(Fault(error, position, started_at, noticed))

    def find_fault(self, error: BaseException) -> Fault | None:
        """The step that raised `error`, alone or in a group."""
        raised = list(_leaves(error))
        return next((fault for fault in self._faults if fault.error in raised), None)

    def settle(self, number: int, *, within: str = "") -> None:
        """Remember that these steps failed and the code continued: another attempt must take the same way.

        Those are meant that failed before call `number`, and whose path begins with `within`.
        """
        for fault in [
            fault for fault in self._faults if fault.noticed < number and fault.position.path.startswith(within)
        ]:
            self._faults.remove(fault)
            path, place, action = fault.position
            failure = self._steps.describe(fault.error, path, place)
            error: Values = {**failure.to_json(), "is_transient": isinstance(fault.error, Transient)}
            result: JsonValue = {"error": {"kind": failure.kind, "message": failure.message}}
            self._steps.pass_over(StepRecord(path, action, "failed", fault.started_at, result, error))
            self._past[path] = FinishedStep(action, error)


def _went_astray(step: NamedStep, how: str) -> NonDeterministic:
    hint = (
        "code has to ask for the same steps in the same order in each attempt: get the time, random values and answers "
        "of other servers in `ctx.step`. If the code was changed meanwhile, start a new run instead"
    )
    error = NonDeterministic(
        f"the code does not do what it did in an earlier attempt: {how}; {hint}", kind="non_deterministic"
    )
    error.place = step.place
    return error


def _restore(step: NamedStep, error: Mapping[str, JsonValue]) -> Permanent | Transient:
    message, kind = str(error.get("message")), str(error.get("kind"))
    raised = Transient(message, kind=kind) if error.get("is_transient") else Permanent(message, kind=kind)
    raised.place = step.place
    return raised


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors of a group, which a TaskGroup raises; any other is itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
