"""How long what has ended is kept."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from penstock.domain.durations import format_duration, parse_duration

DEFAULT_RETENTION: Final[Mapping[str, str]] = {"development": "7d", "live": "30d"}
"""By environment, for which nobody has said anything else. A migration has the same."""
MIN_RETENTION: Final = timedelta(days=1)
"""A run answers those who repeat its request with the same key, for a day."""
MAX_RETENTION: Final = timedelta(days=3650)


def read_retention(text: str) -> str:
    """A retention such as `30d` in its shortest form. Raises ValueError unless it is from a day to ten years."""
    retention = parse_duration(text)
    if not MIN_RETENTION <= retention <= MAX_RETENTION:
        raise ValueError(
            f"{text!r} is not a retention; give {format_duration(MIN_RETENTION)} to {format_duration(MAX_RETENTION)}, "
            "such as 30d"
        )
    return format_duration(retention)
