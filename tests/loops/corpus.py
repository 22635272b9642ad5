"""The corpus: each file in `apps/` is a small app, whose first document says what it does and what has to become of
it.
"""

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue

from penstock.domain.durations import parse_duration
from penstock.reading.documents import read_documents, to_json
from penstock.reading.places import Report

APPS: Final = Path(__file__).parent / "apps"
TYPES: Final = "type: thing\nfields: {name: text, number: number, total: number}\n"
NAMES: Final = tuple(sorted(path.stem for path in APPS.glob("*.yaml")))

Link = Literal["schedule", "delayed", "list", "change", "message", "http", "event", "recurrence", "other"]
"""How one run leads to the next; `other` is a call through another installation, which calls back."""
Duration = Annotated[timedelta, BeforeValidator(lambda text: parse_duration(str(text)))]


class Hop(NamedTuple):
    """One step of a chain: which workflow was started, and how."""

    workflow: str
    link: Link


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Start(_Part):
    """The root run. Without one, a recurrence of the app begins."""

    workflow: str
    parameters: dict[str, JsonValue] = {}


class Cut(_Part):
    """Which runs have to be terminated: why, how deep they are, and how many there are."""

    reason: Literal["depth_limit", "no_progress"]
    depth: int
    paths: int = 1


class Loop(_Part):
    """One loop. `lead`, then `cycle` again and again, then `tail` are the hops of its deepest path, the root left out.

    `hops` is how many there are, None when there is no end; `things` how many things a legitimate loop has to make;
    `advance` how far time is moved, `every` what lies between two turns of the cycle. `both` asks for two
    installations.
    """

    loop: str
    verdict: Literal["legitimate", "runaway"]
    says: str
    start: Start | None = None
    advance: Duration = timedelta(0)
    every: Duration = timedelta(0)
    depth_limit: int = 10
    chain_runs_limit: int = 40
    lead: list[dict[str, Link]] = []
    cycle: list[dict[str, Link]]
    tail: list[dict[str, Link]] = []
    hops: int | None = None
    things: int | None = None
    cut: Cut | None = None
    both: bool = False
    python: str = ""
    workflows: str

    @property
    def is_runaway(self) -> bool:
        """Whether it has to be cut."""
        return self.verdict == "runaway"

    def path(self, longest: int) -> list[Hop]:
        """The hops of the deepest path below its root, at most `longest` of them."""
        lead, again, tail = (_hops(part) for part in (self.lead, self.cycle, self.tail))
        if self.hops is None:
            return [*lead, *islice(cycle(again), longest - len(lead))]
        middle = islice(cycle(again), self.hops - len(lead) - len(tail))
        return [*lead, *middle, *tail][:longest]

    def write(self, directory: Path) -> None:
        """Write the app, with its limits, as a directory that can be deployed."""
        limits = f"{{depth_limit: {self.depth_limit}, chain_runs_limit: {self.chain_runs_limit}}}"
        head = f"app: loop\nenvironments:\n  development: {limits}\n"
        files = {"types/thing.yaml": TYPES, "workflows/all.yaml": self.workflows}
        if self.python:
            head += f"python: [{self.loop}]\n"
            files[f"{self.loop}.py"] = self.python
        for name, text in {"app.yaml": head, **files}.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)


def _hops(part: list[dict[str, Link]]) -> list[Hop]:
    return [Hop(*hop) for entry in part for hop in entry.items()]


@cache
def read_loop(name: str) -> Loop:
    """A loop of the corpus. Raises AssertionError for a file that cannot be read."""
    text = (APPS / f"{name}.yaml").read_text()
    head, _, workflows = text.partition("\n---\n")
    report = Report()
    (document,) = read_documents(name, head.encode(), report)
    content = to_json(document)
    assert isinstance(content, dict), report.problems
    return Loop.model_validate({**content, "workflows": workflows})


def list_loops() -> Iterator[Loop]:
    """All loops, the legitimate ones first."""
    yield from sorted(map(read_loop, NAMES), key=lambda loop: (loop.is_runaway, loop.loop))
