"""The table in `docs/loops.md`: what becomes of each loop of the corpus, here and by the published rules of others.

`python -m tests.loops.table` writes it.
"""

from pathlib import Path as File
from typing import Final

from tests.loops.corpus import Loop, list_loops
from tests.loops.peers import PEERS, Path, Ruling, Verdict

PAGE: Final = File(__file__).parents[2] / "docs" / "loops.md"
BEGIN: Final = "<!-- The table is written by `python -m tests.loops.table`. -->\n"
END: Final = "<!-- The end of the table. -->\n"
ENDLESS: Final = 200
"""This many hops stand for a loop without an end: more than any of the rules lets pass."""


def path_of(loop: Loop) -> Path:
    """The loop's deepest path. Without a run that begins, it is the recurrence itself."""
    return Path(loop.start.workflow if loop.start else "", loop.path(ENDLESS), loop.every)


def judge(loop: Loop) -> Verdict:
    """What Penstock does; that it is so, the corpus shows."""
    return Ruling.RUNS if loop.cut is None else loop.cut.depth


def is_right(loop: Loop, verdict: Verdict) -> bool | None:
    """Whether a verdict is the right one; None where there is none."""
    return None if verdict is Ruling.SILENT else loop.is_runaway == isinstance(verdict, int)


def render() -> str:
    """The tables, legitimate loops first, and how many each judges wrongly."""
    loops = list(list_loops())
    parts = [
        _table("Meant", [loop for loop in loops if not loop.is_runaway]),
        _table("Runaways", [loop for loop in loops if loop.is_runaway]),
        _summary(loops),
    ]
    return "\n".join(parts)


def write() -> None:
    """Put the tables into the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{render()}\n{END}{after}")


def _table(title: str, loops: list[Loop]) -> str:
    head = f"| {title} | Penstock | {' | '.join(PEERS)} |\n|---|---|{'---|' * len(PEERS)}\n"
    return head + "".join(
        f"| **{loop.loop.replace('_', ' ')}**: {loop.says} | {_own_cell(loop)} | "
        f"{' | '.join(_cell(loop, rule(path_of(loop))) for rule in PEERS.values())} |\n"
        for loop in loops
    )


def _own_cell(loop: Loop) -> str:
    return _cell(loop, judge(loop)) + (", no progress" if loop.cut and loop.cut.reason == "no_progress" else "")


def _cell(loop: Loop, verdict: Verdict) -> str:
    text = verdict.value if isinstance(verdict, Ruling) else f"cut at hop {verdict}"
    return f"**{text}**" if is_right(loop, verdict) is False else text


def _summary(loops: list[Loop]) -> str:
    rulings = {"Penstock": [judge(loop) for loop in loops]}
    rulings |= {name: [rule(path_of(loop)) for loop in loops] for name, rule in PEERS.items()}
    lines = ["| | cut though meant, of 20 | missed, of 20 | not said |", "|---|---|---|---|"]
    for name, ruling in rulings.items():
        verdicts = list(zip(loops, ruling, strict=True))
        wrong = [loop.is_runaway for loop, verdict in verdicts if is_right(loop, verdict) is False]
        silent = sum(verdict is Ruling.SILENT for _, verdict in verdicts)
        lines.append(f"| {name} | {wrong.count(False)} | {wrong.count(True)} | {silent} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write()
