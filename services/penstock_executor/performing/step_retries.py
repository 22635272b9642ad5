"""Tries of a step that lie far apart: between two of them the run waits, and holds no slot.

The wait is a record of its own beside the step's, under a path that counts the step's failed tries within this try of
the run: once the wait is over the record is finished, and by it the next attempt knows how often the step has failed.
So a step's tries are counted over attempts, crashes and deploys, and are no failures of the run.
"""

from collections.abc import Container
from typing import Final

LONGEST_PAUSE_SECONDS: Final = 5.0
"""A pause up to this long keeps the slot: giving it up and being claimed again costs a few statements."""
ACTION: Final = "retry"
"""What such a record says instead of a kind of step."""


def pause_path(path: str, run_failures: int, failures: int) -> str:
    """The path of the wait after the failure number `failures` of the step at `path`, in a run that has failed
    `run_failures` times.
    """
    return f"{path}~{run_failures + 1}.{failures}"


def count_failures(finished: Container[str], path: str, run_failures: int, most: int) -> int:
    """How many tries of the step had failed when the run last waited for the next one; at most `most`."""
    return next(
        (failures for failures in range(most, 0, -1) if pause_path(path, run_failures, failures) in finished), 0
    )
