"""A chain as a tree that fits a screen: siblings of one workflow and state are folded into one node, with their number.

The children of a node are those of all its runs, folded again. So a list of a thousand items is one node, and what the
items schedule is one more. The tree is built from the runs in the order of their depth, which may be read piece by
piece; what is taken out of it is bounded.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from uuid import UUID

from penstock.domain.cycles import Cycle, find_cycle

MAX_PATH: Final = 200
"""Runs of a path that are looked through for a cycle."""
MAX_PATHS: Final = 50
"""Paths that are looked through: of the deepest, those that were cut first."""


class SeenRun(NamedTuple):
    """What is known of a run; `cut` is the protection that has ended it, such as `depth_limit`."""

    id: UUID
    parent_run_id: UUID | None
    workflow: str
    state: str
    depth: int
    cut: str | None


@dataclass(slots=True)
class Fold:
    """Runs with one parent node, of one workflow, state and depth. `first` is the one that was read first."""

    number: int
    parent: int | None
    workflow: str
    state: str
    depth: int
    first: UUID
    runs: int = 0
    cut: dict[str, int] = field(default_factory=dict)
    children: list[int] = field(default_factory=list)


class ShownFold(NamedTuple):
    """A node of what is taken out of a tree. `parent` is the number of another one of these; `hidden` says how many
    runs are below it that are not shown.
    """

    fold: Fold
    parent: int | None
    hidden: int


class Picture:
    """The tree of a chain. Runs are added parents first."""

    def __init__(self) -> None:
        self.read = 0
        self._folds: list[Fold] = []
        self._keys: dict[tuple[int | None, str, str, int], int] = {}
        self._fold_of: dict[UUID, int] = {}
        self._deepest: list[Fold] = []

    def add(self, runs: Iterable[SeenRun]) -> None:
        """Add runs. One whose parent is not known is a root."""
        for run in runs:
            parent = None if run.parent_run_id is None else self._fold_of.get(run.parent_run_id)
            key = (parent, run.workflow, run.state, run.depth)
            number = self._keys.get(key)
            if number is None:
                number = self._keys[key] = len(self._folds)
                self._folds.append(Fold(number, parent, run.workflow, run.state, run.depth, run.id))
                if parent is not None:
                    self._folds[parent].children.append(number)
            fold = self._folds[number]
            fold.runs += 1
            self._fold_of[run.id] = number
            self.read += 1
            if run.cut is not None:
                fold.cut[run.cut] = fold.cut.get(run.cut, 0) + 1
            if not self._deepest or run.depth > self._deepest[0].depth:
                self._deepest = [fold]
            elif run.depth == self._deepest[0].depth and fold.runs == 1:
                self._deepest.append(fold)

    def find_fold(self, run_id: UUID) -> Fold | None:
        """The node that a run is folded into."""
        number = self._fold_of.get(run_id)
        return None if number is None else self._folds[number]

    def find_cycle(self) -> Cycle | None:
        """The workflows that follow each other again and again at the end of one of the deepest paths, most often."""
        ends = sorted(self._deepest, key=lambda fold: not fold.cut)[:MAX_PATHS]
        cycles = [cycle for end in ends if (cycle := find_cycle(self._path_to(end))) is not None]
        return max(cycles, key=lambda cycle: cycle.rounds, default=None)

    def _path_to(self, end: Fold) -> list[str]:
        path: list[str] = []
        fold: Fold | None = end
        while fold is not None and len(path) < MAX_PATH:
            path.append(fold.workflow)
            fold = None if fold.parent is None else self._folds[fold.parent]
        return path[::-1]

    def take(self, most: int, root: Fold | None = None) -> list[ShownFold]:
        """At most `most` nodes, those nearest to the root first; `root`: only this one and what is below it."""
        waiting = deque([root] if root is not None else [fold for fold in self._folds if fold.parent is None])
        taken: dict[int, Fold] = {}
        while waiting and len(taken) < most:
            fold = waiting.popleft()
            taken[fold.number] = fold
            waiting.extend(self._folds[child] for child in fold.children)
        below = self._count_below() if waiting else None
        return [
            ShownFold(
                fold,
                fold.parent if fold is not root and fold.parent in taken else None,
                0 if below is None else sum(below[child] for child in fold.children if child not in taken),
            )
            for fold in taken.values()
        ]

    def _count_below(self) -> list[int]:
        """By number, the runs of each node and of all below it. A parent has a smaller number than its children."""
        counts = [fold.runs for fold in self._folds]
        for fold in reversed(self._folds):
            if fold.parent is not None:
                counts[fold.parent] += counts[fold.number]
        return counts
