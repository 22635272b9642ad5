"""Times from outside, so that every one can be computed with and stored.

A zone can move a time out of the years 1 to 9999, and PostgreSQL's driver takes the first and the last moment that
Python knows for infinite ones.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

FIRST: Final = datetime.min.replace(tzinfo=UTC) + timedelta(days=1)
LAST: Final = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)


def read_iso(text: str) -> datetime:
    """An ISO 8601 time. Raises ValueError, also for a NUL at the end, which Python takes for the end of the text."""
    if "\x00" in text:
        raise ValueError("a time holds no NUL")
    return datetime.fromisoformat(text)


def to_utc(moment: datetime) -> datetime:
    """`moment` in UTC; what lies before `FIRST` is that, what lies behind `LAST` is that.

    Raises ValueError when it has no zone, or is not between the years 1 and 9999 in UTC.
    """
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone, such as 2030-01-31T09:00:00Z")
    try:
        return min(max(moment.astimezone(UTC), FIRST), LAST)
    except OverflowError:
        raise ValueError("the time is not between the years 1 and 9999 in UTC") from None
