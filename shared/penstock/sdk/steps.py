"""What all steps of a context go through: an engine is asked, with the line of the author's file that asks."""

import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import TypeVar

from pydantic import JsonValue

from penstock.definitions.models import StepAction
from penstock.sdk.arguments import CHECKS
from penstock.sdk.engine import Engine, SourceLine, StepCall, StepOptions

T = TypeVar("T")
Items = Callable[[JsonValue, int], Mapping[str, JsonValue]]


class Steps:
    """Something with an engine. A method returns at once with what is to be awaited; the order of the calls names the
    steps.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def _ask(
        self,
        action: StepAction,
        target: JsonValue,
        arguments: Mapping[str, JsonValue],
        convert: Callable[[JsonValue], T],
        options: StepOptions,
        items: Items | None = None,
    ) -> Coroutine[object, object, T]:
        """To be called by a method that an author's code calls. Arguments that are None are left out."""
        given: dict[str, JsonValue] = {name: value for name, value in arguments.items() if value is not None}
        return self._engine.perform(StepCall(action, target, find_line(2), given, items, options), convert)


def find_line(depth: int) -> SourceLine:
    """The line that is being executed that many calls up; 0 is the caller's own."""
    frame = sys._getframe(depth + 1)
    if frame.f_code in CHECKS and frame.f_back is not None:
        frame = frame.f_back
    return SourceLine(frame.f_code.co_filename, frame.f_lineno)


def to_number(result: JsonValue) -> int:
    """A step that counts."""
    return result if isinstance(result, int) else 0


def to_nothing(_: JsonValue) -> None:
    """A step has no result."""
