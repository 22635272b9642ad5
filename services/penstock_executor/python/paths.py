"""The paths of steps that code asks for: the kind of step with its number among that kind, or its `step_id`.

Paths are given when a method of the context is called, not when it is awaited, so that calls awaited together are named
in the order in which they stand.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from penstock.errors import Permanent
from penstock.sdk.engine import SourceLine, StepOptions
from penstock.sdk.modules import show_place

_STEP_ID: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")


@dataclass(slots=True, eq=False)
class Scope:
    """Where paths are given: in the function itself, or in one that `ctx.step` calls. `given` are the paths so far."""

    prefix: str
    counts: dict[str, int] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class NamedStep:
    """A step that code asks for: its kind and path, where it stands in the code, and its number among all."""

    kind: str
    path: str
    place: str
    number: int
    scope: Scope

    @property
    def id(self) -> str:
        """The last part of the path."""
        return self.path.removeprefix(self.scope.prefix)


_SCOPE: Final[ContextVar[Scope]] = ContextVar("penstock_scope")


class Paths:
    """The paths of one call of a function: `count` were given; `waiting` holds steps that are not awaited yet, with
    places.
    """

    def __init__(self, directory: Path, prefix: str) -> None:
        self._directory = directory
        self._root = Scope(prefix)
        self.count = 0
        self.waiting: dict[str, str] = {}

    def begin(self) -> None:
        """From here on, this task and those it starts are in the function itself."""
        _SCOPE.set(self._root)

    @contextmanager
    def inside(self, step: NamedStep) -> Iterator[None]:
        """In the function that this step calls."""
        token = _SCOPE.set(Scope(f"{step.path}/"))
        try:
            yield
        finally:
            _SCOPE.reset(token)

    def give(self, kind: str, options: StepOptions, line: SourceLine) -> NamedStep:
        """The path of a step. Raises Permanent for a `step_id` that cannot be one, or that another step has."""
        scope, place = _SCOPE.get(self._root), show_place(self._directory, line.file, line.line)
        id = options.get("step_id")
        if id is None:
            id = _next_id(scope, kind)
        elif not _STEP_ID.fullmatch(id):
            raise Permanent(
                f"{id[:120]!r} cannot be the id of a step; use at most 100 letters, digits and _ . -", kind="step_id"
            )
        path = scope.prefix + id
        if path in scope.given:
            raise Permanent(
                f"two steps have the id {id!r}; each needs its own, also in a loop: f'{id}_{{number}}'", kind="step_id"
            )
        scope.given.add(path)
        self.count += 1
        self.waiting[path] = place
        return NamedStep(kind, path, place, self.count, scope)


def _next_id(scope: Scope, kind: str) -> str:
    while True:
        number = scope.counts[kind] = scope.counts.get(kind, 0) + 1
        id = kind if number == 1 else f"{kind}_{number}"
        if scope.prefix + id not in scope.given:
            return id
