"""Finds branches that would wait at the same time for what only one of them may: a signal, or the ends of runs.

A run has one wait (`penstock.runs.waits_and_signals`). Two branches that wait for a time take turns at it; two that
listen cannot, and their run fails when both have come so far. What stands under a condition is left to that moment.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from penstock.definitions.models import App, Step, StepAction

_LISTENING: Final = frozenset({StepAction.WAIT_FOR, StepAction.WAIT_FOR_RUNS})


class TwoWaits(NamedTuple):
    """Steps that listen at the same time: `second`, at `place` (`file:line`), and `first`, which is the same step where
    several items of a list are worked on at once.
    """

    first: str
    second: str
    place: str


def find_two_waits(app: App) -> Iterator[TwoWaits]:
    """All that certainly listen at the same time, in workflows written in YAML."""
    for workflow in app.workflows.values():
        for step in _walk(workflow.steps):
            listeners = [
                found for steps in step.blocks.values() if (found := _find_listener(app, steps, ())) is not None
            ]
            at_once = step.arguments.get("at_once")
            if step.action is StepAction.EACH and isinstance(at_once, int) and at_once > 1:
                listeners *= 2
            if len(listeners) > 1:
                yield TwoWaits(listeners[0].id, listeners[1].id, listeners[1].place)


def _walk(steps: Sequence[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        for inside in step.blocks.values():
            yield from _walk(inside)


def _find_listener(app: App, steps: Sequence[Step], path: tuple[str, ...]) -> Step | None:
    """The first of these steps that listens for any data of the run, or triggers a workflow that does. `path` has
    the workflows that were entered.
    """
    for step in steps:
        if step.when is not None:
            continue
        if step.action in _LISTENING or _is_listening_inside(app, step, path):
            return step
        for inside in step.blocks.values():
            if (found := _find_listener(app, inside, path)) is not None:
                return found
    return None


def _is_listening_inside(app: App, step: Step, path: tuple[str, ...]) -> bool:
    if step.action is not StepAction.TRIGGER or not isinstance(step.target, str) or step.target in path:
        return False
    triggered = app.workflows.get(step.target)
    if triggered is None or triggered.when is not None:
        return False
    return _find_listener(app, triggered.steps, (*path, step.target)) is not None
