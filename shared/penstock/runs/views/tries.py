"""Steps with their tries, made of the rows that the executor writes.

A step that was tried once is its row. Further tries stand in the row's `tries`; tries before a pause in which the run
gave its slot back stand in a row of their own, whose path is that of the step and `~`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from penstock.db import Record
from penstock.runs.views.models import Step, Try

PAUSE: Final = "retry"
"""The action of a row that stands for a pause between two tries."""
_MARK: Final = "~"


def make_steps(rows: Sequence[Record]) -> list[Step]:
    """The steps of one run, in the order of their rows. One of which there are only pauses so far is shown as such."""
    pauses: dict[str, list[Record]] = defaultdict(list)
    steps = {row["step"] for row in rows if row["action"] != PAUSE}
    for row in rows:
        if row["action"] == PAUSE:
            pauses[row["step"].rpartition(_MARK)[0]].append(row)
    made = []
    for row in rows:
        path = row["step"] if row["action"] != PAUSE else row["step"].rpartition(_MARK)[0]
        if row["action"] != PAUSE:
            made.append(_make_step(path, row, [*pauses[path], row]))
        elif path not in steps and row is pauses[path][-1]:
            made.append(_make_step(path, row, pauses[path]))
    return made


def _make_step(path: str, row: Record, rows: Sequence[Record]) -> Step:
    tries = [Try.model_validate(one) for of in rows for one in (of["tries"] or _describe(of))]
    tries.sort(key=lambda one: one.started_at)
    for before, after in pairwise(tries):
        if before.finished_at is not None:
            before.pause_seconds = max((after.started_at - before.finished_at).total_seconds(), 0.0)
    known = dict(row) | {
        "step": path,
        "tries": tries,
        "started_at": tries[0].started_at if tries else row["started_at"],
    }
    return Step.model_validate(known)


def _describe(row: Record) -> list[Mapping[str, object]]:
    """The one try that a row stands for; none for a step that was skipped."""
    if row["outcome"] == "skipped":
        return []
    finished_at = None if row["outcome"] == "waiting" and row["action"] != PAUSE else row["finished_at"]
    return [{**{name: row[name] for name in ("attempt", "started_at", "error")}, "finished_at": finished_at}]
