"""How long a call may take, and how long it pauses before it is tried again: pure decisions, and a clock."""

import asyncio
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

FIRST_PAUSE_SECONDS: Final = 0.1
MAX_PAUSE_SECONDS: Final = 5.0
FIRST_LOOK_SECONDS: Final = 0.05
MAX_LOOK_SECONDS: Final = 2.0
_LOOK_GROWTH: Final = 1.5


class Deadline:
    """The moment by which a call has to be over, on the loop's clock."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = asyncio.get_running_loop().time() + seconds

    @property
    def remaining(self) -> float:
        """Seconds until then, 0 when it is over."""
        return max(0.0, self._ends_at - asyncio.get_running_loop().time())


def pause_before_retry(tries: int, asked_seconds: float | None, jitter: float) -> float:
    """Seconds to wait after `tries` tries: what the other side has asked for, else twice as long each time, up to 5 s.
    `jitter`, from 0 to 1, spreads clients that failed together.
    """
    if asked_seconds is not None:
        return asked_seconds + FIRST_PAUSE_SECONDS * jitter
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(tries - 1, 10), MAX_PAUSE_SECONDS) * (0.5 + jitter / 2)


def pause_before_look(looks: int) -> float:
    """Seconds to wait before a run is looked at again, having been looked at `looks` times: up to 2 s."""
    return min(FIRST_LOOK_SECONDS * _LOOK_GROWTH ** min(looks, 20), MAX_LOOK_SECONDS)


def read_retry_after(value: str | None, now: datetime) -> float | None:
    """The seconds that a `Retry-After` asks for (RFC 9110, 10.2.3: seconds or a date); None if it cannot be read."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())
