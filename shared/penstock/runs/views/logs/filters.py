"""Which lines of the log are wanted, and by which of the indexes they are found."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from penstock.domain.log_terms import LogTerms
from penstock.runs.views.logs.unfolding import DERIVED
from penstock.runs.views.models import LogEntry
from penstock.store.logs import LEVELS, LogEvent

LogPlace = tuple[datetime, int, int]
"""Time and id of a stored line, and how many of the lines that it stands for were shown."""
ALL_SHOWN: Final = 1_000_000
_RARE: Final = ("warning", "error")


class Way(StrEnum):
    """By what the stored lines are looked up that may be wanted, the newest first."""

    RUN = "run"
    CHAIN = "chain"
    USER = "user"
    LEVELS = "levels"
    KINDS = "kinds"
    WORKFLOW = "workflow"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which log lines; None does not matter. `levels` are the level asked for and the worse ones, `user_id` is that of
    a user for whom runs work.
    """

    environment: str
    run_id: UUID | None = None
    chain_id: UUID | None = None
    workflow: str | None = None
    user_id: str | None = None
    kinds: tuple[LogEvent, ...] | None = None
    levels: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    contains: LogTerms | None = None

    def admits(self, line: LogEntry) -> bool:
        """Whether a line that was unfolded is wanted; its run, its workflow and its user are."""
        return (
            (self.levels is None or line.level in self.levels)
            and (self.kinds is None or line.event in self.kinds)
            and (self.since is None or line.at >= self.since)
            and (self.until is None or line.at < self.until)
            and (self.contains is None or self.contains.match((line.event, line.message, line.workflow, line.step)))
        )

    @property
    def wants_derived(self) -> bool:
        """Whether lines may be wanted that are unfolded from the one with which a run ended."""
        return self.kinds is not None and not DERIVED.isdisjoint(self.kinds)

    @property
    def is_narrow(self) -> bool:
        """Whether so few runs are meant that the names of their steps are searched, too."""
        return any(only is not None for only in (self.run_id, self.chain_id, self.user_id, self.workflow))

    @property
    def way(self) -> Way:
        """The index that finds what is wanted among the fewest others, as a rule."""
        ways = {
            Way.RUN: self.run_id is not None,
            Way.CHAIN: self.chain_id is not None,
            Way.USER: self.user_id is not None,
            Way.LEVELS: self.levels is not None and set(self.levels) <= set(_RARE),
            Way.KINDS: self.kinds is not None and not self.wants_derived and LogEvent.FINISHED not in self.kinds,
            Way.WORKFLOW: self.workflow is not None,
        }
        return next((way for way, is_it in ways.items() if is_it), Way.TIME)


def levels_from(level: str) -> tuple[str, ...]:
    """This level and the worse ones. Raises ValueError."""
    if level not in LEVELS:
        raise ValueError(f"expected one of {', '.join(LEVELS)}")
    return tuple(LEVELS[LEVELS.index(level) :])


def read_kinds(text: str) -> tuple[LogEvent, ...]:
    """Kinds of lines by their names, separated by commas; case and punctuation do not matter: `Action completed` is
    `action_completed`. Raises ValueError.
    """
    kinds: list[LogEvent] = []
    for name in text.split(","):
        kind = _KINDS.get(name_kind(name))
        if kind is None:
            raise ValueError(f"{name[:60]!r} is not a kind of line; there are {', '.join(_KINDS)}")
        kinds.append(kind)
    return tuple(dict.fromkeys(kinds))


def name_kind(event: str) -> str:
    """The name of a kind without spaces and punctuation: `action_completed`."""
    return re.sub(r"[^a-z0-9]+", "_", event.lower()).strip("_")


_KINDS: Final = {name_kind(event): event for event in LogEvent}
KINDS: Final = tuple(_KINDS)
"""The names of all kinds."""
