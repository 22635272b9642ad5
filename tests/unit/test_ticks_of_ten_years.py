"""Ticks over ten years in twelve zones against another computation, which walks minute by minute along what the clocks
show: around each change of the clocks, and on some other days.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from penstock.domain.ticks import Rule, ticks_after

ZONES = (
    "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "America/Santiago", "Asia/Beirut",
    "Africa/Cairo", "Pacific/Chatham", "Antarctica/Troll", "America/Havana", "Asia/Kolkata", "UTC",
)  # fmt: skip
"""Changes of a full hour, half an hour and two; at midnight, at two, at 02:45; in Ramadan; and never."""
CRONS = (
    "30 2 * * *", "0 0 * * *", "15,45 0-3 * * *", "*/7 1-4 * * *", "0 */3 * * *", "*/15 * * * *", "5 0-23 * * *",
    "59 23 * * 1-5", "0 1 13 * 5", "20 2 1-7 * *", "30 0 * 3,4,9,10 0",
)  # fmt: skip
MINUTE = timedelta(minutes=1)
FIRST, LAST = datetime(2025, 1, 1, tzinfo=UTC), datetime(2035, 1, 1, tzinfo=UTC)
_FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


class Cron(NamedTuple):
    """What the five fields allow, read by this test itself."""

    fields: tuple[frozenset[int], ...]
    is_any_day: bool
    names_every_hour: bool

    def allows(self, local: datetime) -> bool:
        """Whether the clocks show a time of the expression."""
        minute, hour, day, month, weekday = self.fields
        days = (local.day in day, local.isoweekday() % 7 in weekday)
        return (
            local.minute in minute
            and local.hour in hour
            and local.month in month
            and (any(days) if self.is_any_day else all(days))
        )


def read(text: str) -> Cron:
    parts = text.split()
    fields = tuple(
        frozenset(number for term in part.split(",") for number in _read_term(term, *bounds))
        for part, bounds in zip(parts, _FIELDS, strict=True)
    )
    is_any_day = not parts[2].startswith("*") and not parts[4].startswith("*")
    return Cron(fields, is_any_day, len(fields[1]) == 24)


def _read_term(term: str, low: int, high: int) -> range:
    span, _, step = term.partition("/")
    begin, _, end = span.partition("-")
    if begin != "*":
        low, high = int(begin), int(end or begin)
    return range(low, high + 1, int(step or 1))


def find_changes(zone: ZoneInfo) -> Iterator[datetime]:
    """The hours before which the clocks of the zone were changed."""
    moment, offset = FIRST, FIRST.astimezone(zone).utcoffset()
    while moment < LAST:
        moment += timedelta(hours=1)
        changed = moment.astimezone(zone).utcoffset()
        if changed != offset:
            yield moment
        offset = changed


def walk(zone: ZoneInfo, begin: datetime, end: datetime) -> list[tuple[datetime, list[datetime], bool]]:
    """Each minute: what the clocks show, behind the times that they have skipped to get there; and whether they showed
    it before.
    """
    seen: set[datetime] = set()
    steps = []
    moment = begin - timedelta(hours=4)
    before = (moment - MINUTE).astimezone(zone).replace(tzinfo=None)
    while moment <= end:
        local = moment.astimezone(zone).replace(tzinfo=None)
        skipped = [before + MINUTE * n for n in range(1, max((local - before) // MINUTE, 1))]
        if moment > begin:
            steps.append((moment, [*skipped, local], local in seen))
        seen.add(local)
        before, moment = local, moment + MINUTE
    return steps


def expected_ticks(cron: Cron, steps: list[tuple[datetime, list[datetime], bool]]) -> list[datetime]:
    """The minutes that are ticks: by elapsed time if every hour is named, else each time of the clocks once."""
    if cron.names_every_hour:
        return [moment for moment, shown, _ in steps if cron.allows(shown[-1])]
    return [
        moment for moment, shown, is_repeated in steps if not is_repeated and any(cron.allows(local) for local in shown)
    ]


@pytest.mark.parametrize("name", ZONES)
def test_ticks_of_ten_years_are_those_that_a_walk_along_the_clocks_finds(name: str) -> None:
    zone, random, compared = ZoneInfo(name), Random(name), 0
    windows = [(change - timedelta(hours=5), change + timedelta(hours=5)) for change in find_changes(zone)]
    for _ in range(5):
        day = FIRST + timedelta(minutes=random.randrange((LAST - FIRST) // MINUTE))
        windows.append((day, day + timedelta(days=1)))
    crons = [(cron, read(cron)) for cron in CRONS]
    for begin, end in windows:
        steps = walk(zone, begin, end)
        for cron, fields in crons:
            expected = expected_ticks(fields, steps)
            rule = Rule(cron=cron, timezone=name)
            found = list(takewhile(end.__ge__, ticks_after(rule, begin)))
            assert found == expected, (cron, begin)
            compared += len(expected)
    assert compared > 100


def test_every_change_of_the_clocks_is_looked_at() -> None:
    assert [len(list(find_changes(ZoneInfo(name)))) for name in ("Europe/Paris", "Asia/Kolkata")] == [20, 0]
