"""Of what kinds people are notified, and how often: each kind at most once in its period and environment. What is held
back meanwhile is counted, and said in the next notification.
"""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Final

from penstock.domain.durations import parse_duration

DEFAULT_PERIOD: Final = timedelta(days=1)
MIN_PERIOD: Final = timedelta(minutes=1)
NEVER: Final = "never"


class NoticeKind(StrEnum):
    """What somebody is notified of."""

    TERMINATIONS = "terminations"
    OBSERVED = "observed"
    STOPS = "stops"
    WARNINGS = "warnings"
    RECURRENCES = "recurrences"
    DEAD_LETTERS = "dead_letters"
    WORKLOAD = "workload"


class Channel(StrEnum):
    """By what way."""

    EMAIL = "email"
    WEBHOOK = "webhook"
    SLACK = "slack"


def kind_of(name: str) -> NoticeKind:
    """The kind of a notice that may say more: `workload.spike` is of the kind `workload`."""
    return NoticeKind(name.partition(".")[0])


def check_period(kind: NoticeKind, text: str) -> None:
    """Raises ValueError unless `text` is `never`, or a duration that is long enough for the kind."""
    if text == NEVER:
        return
    period = parse_duration(text)
    if kind is NoticeKind.TERMINATIONS and period < DEFAULT_PERIOD:
        raise ValueError(f"{kind}: at most one notification a day; give 1d or more, or never")
    if period < MIN_PERIOD:
        raise ValueError(f"{kind}: give 1m or more, or never")


def read_period(every: Mapping[str, str], kind: NoticeKind) -> timedelta | None:
    """How long the kind rests after a notification; None: nobody is notified of it at all."""
    text = every.get(kind.value)
    if text is None:
        return DEFAULT_PERIOD
    return None if text == NEVER else parse_duration(text)
