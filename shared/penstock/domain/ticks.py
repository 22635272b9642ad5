"""When a recurrence ticks: cron expressions and calendar periods in local time, also when clocks change.

A local time that the clocks skip in spring ticks once, at the end of the gap; one that they show twice in autumn ticks
once, the first time. Only a cron expression that names every hour goes by elapsed time (as Debian's cron has it), so
that `*/15 * * * *` neither pauses for an hour nor crowds. A day that a month lacks (the 31st, 29 February) is that
month's last; the next month has it again.
"""

import calendar
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

UTC_ZONE: Final = "UTC"
_ALL_HOURS: Final = frozenset(range(24))
_CRON_FIELDS: Final = (5, 6)
MAX_TIMES: Final = 10**12
MAX_FAILURES: Final = 100
"""The outcomes of this many ticks are known."""
_MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""What stands for an expression, in crontab(5)."""


class Every(StrEnum):
    """A period of the calendar, counted from the first tick."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    YEARLY = "yearly"


class Overlap(StrEnum):
    """What becomes of a tick while the run of the tick before it has not ended."""

    SKIP = "skip"
    """It makes no run."""
    ALLOW = "allow"
    """It makes its run all the same."""
    QUEUE = "queue"
    """It waits until that run has ended; of several that wait, only the latest makes a run."""
    CANCEL_OTHER = "cancel_other"
    """It cancels that run and makes its own; of several that are due, only the latest does."""


_MONTHS: Final = {Every.MONTHLY: 1, Every.QUARTERLY: 3, Every.YEARLY: 12}
_DAYS: Final = {Every.DAILY: 1, Every.WEEKLY: 7}


@dataclass(frozen=True, slots=True)
class Rule:
    """When to tick: by `cron`, not before `start` if there is one; or every `every` period from `start`, itself
    included. Not after `end` if there is one.
    """

    cron: str | None = None
    every: Every | None = None
    start: datetime | None = None
    timezone: str = UTC_ZONE
    end: datetime | None = None


def check_cron(text: str) -> None:
    """Raises ValueError, with a message for the author, unless `text` is a cron expression of five fields, of six that
    begin with the second, or a macro such as @daily, and ever comes true.
    """
    if text.startswith("@") and text.lower() not in _MACROS:
        raise ValueError(f"{text!r} is not a cron expression: the macros are {', '.join(_MACROS)}")
    if not text.startswith("@") and (fields := len(text.split())) not in _CRON_FIELDS:
        raise ValueError(
            f"{text!r} is not a cron expression: it takes five fields, and this has {fields}: minute, hour, day of "
            "month, month and day of week, as in 0 3 * * 1-5; the second may stand before them, or write a macro such "
            "as @daily"
        )
    try:
        never = next(iter(CronSim(_six_fields(text), datetime(2024, 1, 1, tzinfo=UTC))), None) is None
    except CronSimError as error:
        raise ValueError(f"{text!r} is not a cron expression: {error}; write it as in 0 3 * * 1-5") from None
    if never:
        raise ValueError(f"{text!r} never comes true")


def check_timezone(name: str) -> None:
    """Raises ValueError unless `name` is a time zone of the IANA database, such as Europe/Paris."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone; write one such as UTC or Europe/Paris") from None


def list_timezones() -> frozenset[str]:
    """All time zones, to find what somebody may have meant."""
    return frozenset(available_timezones())


def next_tick(rule: Rule, after: datetime) -> datetime | None:
    """The first tick later than `after`, in UTC; None when there is none. Raises ValueError for an invalid rule."""
    return next(ticks_after(rule, after), None)


def ticks_after(rule: Rule, after: datetime) -> Iterator[datetime]:
    """The ticks later than `after`, in order, in UTC; without end but for rules that never come true again, or the year
    9999.
    """
    zone = _zone(rule.timezone)
    if rule.cron is not None:
        # A start that is itself a tick is the first one.
        floor = after if rule.start is None else max(after, rule.start - timedelta(microseconds=1))
        found = _cron_ticks(rule.cron, zone, floor)
    elif rule.every is not None and rule.start is not None:
        floor, found = after, _period_ticks(rule.every, rule.start, zone, after)
    else:
        raise ValueError("a recurrence needs a cron expression, or a period and a start")
    try:
        for tick in found:
            if rule.end is not None and tick > rule.end:
                return
            if tick > floor:
                floor = tick
                yield tick
    except (OverflowError, CronSimError) as error:
        if isinstance(error, CronSimError):
            raise ValueError(f"{rule.cron!r} is not a cron expression: {error}") from None


def jitter(recurrence_id: UUID, tick_at: datetime, most: timedelta) -> timedelta:
    """How long after its time a tick is due: from 0 up to `most`, for the same tick always the same."""
    if not most:
        return timedelta()
    digest = hashlib.blake2b(recurrence_id.bytes + tick_at.isoformat().encode(), digest_size=8).digest()
    return most * (int.from_bytes(digest, "big") / 2**64)


@lru_cache(maxsize=1000)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(f"{name!r} is not a time zone") from error


def _six_fields(cron: str) -> str:
    """The same with the second. The library treats changes of clocks its own way where that is missing."""
    fields = _MACROS.get(cron.lower(), cron)
    return fields if len(fields.split()) == _CRON_FIELDS[1] else f"0 {fields}"


def _cron_ticks(cron: str, zone: ZoneInfo, floor: datetime) -> Iterator[datetime]:
    local = floor.astimezone(zone)
    cron = _six_fields(cron)
    by_elapsed_time = CronSim(cron, local)
    if by_elapsed_time.hours == _ALL_HOURS:
        yield from (tick.astimezone(UTC) for tick in by_elapsed_time)
    else:
        yield from (_resolve(tick, zone) for tick in CronSim(cron, local.replace(tzinfo=None)))


def _period_ticks(every: Every, start: datetime, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    local = start.astimezone(zone).replace(tzinfo=None)
    longest = timedelta(days=_DAYS.get(every) or 31 * _MONTHS[every])
    count = max((after - start) // longest - 1, 0)  # so never beyond the first that is later than `after`
    while True:
        yield start.astimezone(UTC) if count == 0 else _resolve(_advance(local, every, count), zone)
        count += 1


def _advance(local: datetime, every: Every, count: int) -> datetime:
    """`count` periods later, always from the first tick, so that a short month shortens no later one."""
    if every in _DAYS:
        return local + timedelta(days=_DAYS[every] * count)
    months = local.year * 12 + local.month - 1 + _MONTHS[every] * count
    year, month = months // 12, months % 12 + 1
    if year > MAXYEAR:
        raise OverflowError("beyond the calendar")
    return local.replace(year=year, month=month, day=min(local.day, calendar.monthrange(year, month)[1]))


def _resolve(local: datetime, zone: ZoneInfo) -> datetime:
    """The moment, in UTC, at which the clocks of `zone` show `local` for the first time; if they skip it, the end of
    that gap.
    """
    moment = local.replace(tzinfo=zone).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == local:
        return moment
    local = local.replace(second=0, microsecond=0)
    while moment.astimezone(zone).replace(tzinfo=None) != local:
        local += timedelta(minutes=1)
        moment = local.replace(tzinfo=zone).astimezone(UTC)
    return moment
