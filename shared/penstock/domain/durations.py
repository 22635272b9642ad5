"""Durations as people write them: `500ms`, `5s`, `10m`, `2h`, `3d`."""

import math
import re
from datetime import timedelta

_UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_PATTERN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.ASCII)
_ISO = re.compile(r"PT?|(?<=D)T", re.ASCII)
_OTHER_UNITS = {
    **dict.fromkeys(("sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("day", "days"), 86400),
    **dict.fromkeys(("w", "week", "weeks"), 604800),
    **dict.fromkeys(("millisecond", "milliseconds"), 0.001),
}
"""Units as they are written elsewhere, in seconds."""
_MAX_DURATION = timedelta(days=36_525)


def parse_duration(text: str) -> timedelta:
    """`"10m"` as a timedelta. Raises ValueError with a message for the author, also beyond 100 years."""
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; {_suggest(text)}")
    seconds = float(match[1]) * _UNIT_SECONDS[match[2]]
    if seconds > _MAX_DURATION.total_seconds():
        raise ValueError(f"{text!r} is longer than 100 years")
    return timedelta(seconds=seconds)


def _suggest(text: str) -> str:
    """What may be meant by `5 min`, `1h30m` or `PT5M`."""
    written = _ISO.sub("", text.strip()).lower() if _ISO.match(text.strip()) else text.lower()
    parts = [
        (float(number), _UNIT_SECONDS.get(unit) or _OTHER_UNITS.get(unit)) for number, unit in _PART.findall(written)
    ]
    is_understood = parts and not re.sub(r"[\s,]|and", "", _PART.sub("", written))
    seconds = sum(number * (size or math.nan) for number, size in parts)
    if not is_understood or not 0 < seconds < _MAX_DURATION.total_seconds():  # nan is not, either
        return "write a number and a unit, such as 500ms, 5s, 10m, 2h or 3d"
    return f"did you mean {format_duration(timedelta(seconds=seconds))}?"


def format_duration(duration: timedelta) -> str:
    """The shortest text that `parse_duration` turns back into `duration` (to the millisecond)."""
    milliseconds = round(duration / timedelta(milliseconds=1))
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0s"
