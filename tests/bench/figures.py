"""Figures of measurements: medians and spread of several times, and a file that they are added to."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench.peers.driving import HOME

STORED: Final = HOME / "figures.jsonl"
"""A line for each measurement of this machine, the oldest first."""


def combine(times: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """One table of figures for several of the same measurement: each number is the median, and `spread` has the lowest
    and the highest, where they differ. What is not a number is that of the last time.
    """
    combined: dict[str, object] = {}
    spread: dict[str, object] = {}
    for name, value in times[-1].items():
        values = [one[name] for one in times if name in one]
        if isinstance(value, Mapping):
            combined[name] = combine([one for one in values if isinstance(one, Mapping)])
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers = [one for one in values if isinstance(one, int | float)]
            combined[name] = round(median(numbers), 3)
            if min(numbers) != max(numbers):
                spread[name] = [min(numbers), max(numbers)]
        else:
            combined[name] = value
    return combined | ({"spread": spread} if spread else {})


def store(name: str, figures: Mapping[str, object], path: Path = STORED) -> None:
    """Add a line to the file: when, what was measured, and its figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), "measure": name, **figures})
    with path.open("a") as file:
        file.write(f"{line}\n")
