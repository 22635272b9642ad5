"""The times that signed requests say, as text, and how old they may be."""

import re
from datetime import UTC, datetime
from typing import Final

from penstock.domain.moments import read_iso
from penstock.webhooks.recipes import TimeUnit

_SECONDS: Final = re.compile(r"\d{1,11}", re.ASCII)
_MILLISECONDS: Final = re.compile(r"\d{12,15}", re.ASCII)


def is_recent(text: str, now: float, tolerance_seconds: float) -> bool:
    """Whether the time that `text` says is near `now`, in either direction."""
    moment = read_time(text.strip())
    return moment is not None and abs(now - moment) <= tolerance_seconds


def read_time(text: str) -> float | None:
    """Seconds since 1970 of a text that says so, or milliseconds, or ISO 8601 with a zone."""
    if _SECONDS.fullmatch(text):
        return float(text)
    if _MILLISECONDS.fullmatch(text):
        return int(text) / 1000
    try:
        moment = read_iso(text)
        return moment.timestamp() if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def write_time(moment: float, unit: TimeUnit) -> str:
    """A time as a sender writes it."""
    if unit == "iso":
        return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(int(moment * 1000 if unit == "ms" else moment))
