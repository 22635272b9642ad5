"""What a run of a benchmark cost: CPU time by program, and the memory of a process tree."""

import os
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")


def list_processes() -> dict[int, tuple[str, int, float]]:
    """By pid: name, parent, CPU seconds of its own and of its ended children."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text()
        except OSError:
            continue
        name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
        found[int(entry.name)] = (name, int(rest[1]), sum(map(int, rest[11:15])) / _TICKS)
    return found


class Cpu:
    """CPU seconds per second, by program, over a `with` block: `shares`."""

    def __enter__(self) -> Self:
        self._before = list_processes()
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._began
        used: defaultdict[str, float] = defaultdict(float)
        for pid, (name, _, cpu) in list_processes().items():
            used[name] += cpu - (self._before[pid][2] if pid in self._before else 0.0)
        ranked = sorted(used.items(), key=lambda item: -item[1])
        self.shares = {name: round(cpu / self.seconds, 2) for name, cpu in ranked if cpu / self.seconds >= 0.02}


def memory_of_tree(root: int) -> float:
    """Proportional memory of a process and all its descendants, in MB: shared pages are counted once."""
    total = 0
    for pid in descendants(root, list_processes()):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def descendants(root: int, processes: Mapping[int, tuple[str, int, float]]) -> set[int]:
    """A process and all that it has started, directly or not, of those that `list_processes` found."""
    members = {root} & processes.keys()
    while more := {pid for pid, (_, parent, _) in processes.items() if parent in members} - members:
        members |= more
    return members
