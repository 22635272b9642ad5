"""The cycle at the end of a chain's path: what repeats when recursion runs away."""

from collections.abc import Sequence
from typing import Final, NamedTuple

MIN_ROUNDS: Final = 2
"""Rounds that make a cycle: what occurs once is only a path."""


class Cycle(NamedTuple):
    """Names of workflows that follow each other again and again, and how many whole rounds the path has of them."""

    workflows: tuple[str, ...]
    rounds: int

    def describe(self) -> str:
        """`create_thing → other → create_thing, 5 times`."""
        return f"{' → '.join((*self.workflows, self.workflows[0]))}, {self.rounds} times"


def find_cycle(path: Sequence[str]) -> Cycle | None:
    """The shortest sequence of names that repeats at the end of the path, or None when nothing does.

    A path may end within a round. The cycle begins with the name that comes first on the path.
    """
    for length in range(1, len(path) // MIN_ROUNDS + 1):
        start = len(path) - length
        while start > 0 and path[start - 1] == path[start - 1 + length]:
            start -= 1
        rounds = (len(path) - start) // length
        if rounds >= MIN_ROUNDS:
            return Cycle(tuple(path[start : start + length]), rounds)
    return None
