"""Problems, and the places they are found at: file, line and column, both counted from 1."""

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from penstock.expressions.tokens import did_you_mean


class Severity(StrEnum):
    """Whether an app with the problem can be deployed."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with an app directory. `file` is relative to it; `hint` says what to do.

    `is_exact` says that the column, too, is the very place of the trouble; then it is shown.
    """

    file: str
    line: int | None
    column: int | None
    message: str
    severity: Severity = Severity.ERROR
    hint: str = ""
    is_exact: bool = False

    def __str__(self) -> str:
        place = [
            self.file,
            *(str(number) for number in (self.line, self.column if self.is_exact else None) if number is not None),
        ]
        return f"{':'.join(place)}: {self.message}{f'; {self.hint}' if self.hint else ''}"


@dataclass(frozen=True, eq=False)
class SourceFile:
    """A file's name relative to the app directory, and its text."""

    name: str
    text: str

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(index + 1 for index, character in enumerate(self.text) if character == "\n")]

    def locate(self, index: int) -> tuple[int, int]:
        """Line and column of the character at `index`."""
        line = bisect_right(self._line_starts, index)
        return line, index - self._line_starts[line - 1] + 1


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """The characters from `start` up to `end` of a file."""

    file: SourceFile
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.file.name}:{self.file.locate(self.start)[0]}"


@dataclass(slots=True)
class Report:
    """Collects problems, so that all are reported at once. `is_partial`: some file could not be read, so names may be
    missing. `directory` is that of the app, where it has one.
    """

    problems: list[Problem] = field(default_factory=list)
    is_partial: bool = False
    directory: Path | None = None

    def error(self, place: Place, message: str, hint: str = "") -> None:
        """A problem that prevents deploying."""
        line, column = place.file.locate(place.start)
        self.problems.append(Problem(place.file.name, line, column, message, hint=hint))

    def exact_error(self, place: Place, message: str, hint: str = "") -> None:
        """The same, where the column is worth telling."""
        line, column = place.file.locate(place.start)
        self.problems.append(Problem(place.file.name, line, column, message, hint=hint, is_exact=True))

    def warning(self, place: Place, message: str, hint: str = "", *, is_exact: bool = False) -> None:
        """Something that an author should know, and that does not prevent deploying."""
        line, column = place.file.locate(place.start)
        self.problems.append(Problem(place.file.name, line, column, message, Severity.WARNING, hint, is_exact))

    def unknown(self, place: Place, kind: str, name: str, known: Collection[str], hint: str = "") -> None:
        """`unknown action 'emial'; did you mean 'email'?`; without a near miss, what there is."""
        listed = f"known are {', '.join(sorted(known))}" if 0 < len(known) <= 20 else ""
        near = did_you_mean(name, known).removeprefix("; ")
        self.error(place, f"unknown {kind} {shorten(name)!r}", hint or near or listed)


def without_echoes(problems: Sequence[Problem]) -> Iterator[Problem]:
    """The problems without warnings of what an error at the same place says already, and each of them once."""
    wrong = {(one.file, one.line, one.column) for one in problems if one.severity is Severity.ERROR}
    for problem in dict.fromkeys(problems):
        is_echo = problem.line is not None and (problem.file, problem.line, problem.column) in wrong
        if problem.severity is Severity.ERROR or not is_echo:
            yield problem


def shorten(text: str, length: int = 60) -> str:
    """The text, cut where it is too long to show in a message."""
    return text if len(text) <= length else f"{text[:length]}…"
