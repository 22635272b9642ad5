"""What is said of a dead letter, and which dead letters somebody means."""

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal, get_args

LetterKind = Literal["run", "message"]
"""A run that has failed, or a message that could not be understood, admitted or handled."""
LETTER_KINDS: Final[tuple[str, ...]] = get_args(LetterKind)
MAX_NOTE: Final = 1000


class LetterState(StrEnum):
    """What was done with a dead letter."""

    OPEN = "open"
    """Nothing yet."""
    RETRIED = "retried"
    """The run was taken up again, or the message is published again. One that fails again is open again."""
    DISCARDED = "discarded"
    """Somebody decided that it is not needed."""
    RESOLVED = "resolved"
    """Somebody has settled the matter in another way."""


class LetterVerb(StrEnum):
    """What can be done with dead letters."""

    RETRY = "retry"
    DISCARD = "discard"
    RESOLVE = "resolve"

    @property
    def state(self) -> LetterState:
        """The state of a letter with which it was done."""
        return _STATES[self]


_STATES: Final = {
    LetterVerb.RETRY: LetterState.RETRIED,
    LetterVerb.DISCARD: LetterState.DISCARDED,
    LetterVerb.RESOLVE: LetterState.RESOLVED,
}


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which dead letters; None does not matter. First seen from `since` on and before `until`.

    `contains` is a text in the reason, whatever its case.
    """

    environment: str
    kind: str | None = None
    state: str | None = None
    workflow: str | None = None
    queue: str | None = None
    contains: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing but the environment and the state narrows it down."""
        return self == LetterFilter(self.environment, state=self.state)

    def describe(self) -> dict[str, str]:
        """What narrows it down, by the names that people write."""
        return {
            name: part.isoformat() if isinstance(part, datetime) else str(part)
            for name, part in asdict(self).items()
            if part is not None and name != "environment"
        }


@dataclass(frozen=True, slots=True)
class LetterChoice:
    """What is to be done with the open dead letters that meet a filter, and the note that is kept with each."""

    of: LetterFilter
    note: str | None = None

    @property
    def environment(self) -> str:
        """Where they are."""
        return self.of.environment

    def describe(self) -> dict[str, str]:
        """The filter and the note, by the names that people write."""
        return {**self.of.describe(), **({} if self.note is None else {"note": self.note})}
