"""When recurrences tick, above all where clocks change and months are short. Expected times are written as people read
them.
"""

from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.domain.ticks import (
    Every,
    Rule,
    check_cron,
    check_timezone,
    jitter,
    list_timezones,
    next_tick,
    ticks_after,
)

PARIS = ZoneInfo("Europe/Paris")
ID = UUID("01890000-0000-8000-8000-000000000001")


def at(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def shown(rule: Rule, after: str, count: int) -> list[str]:
    zone = ZoneInfo(rule.timezone)
    return [f"{tick.astimezone(zone):%m-%d %H:%M %Z}" for tick in islice(ticks_after(rule, at(after)), count)]


# In 2026, Paris goes from 02:00 CET to 03:00 CEST on 29 March, and from 03:00 CEST back to 02:00 CET on 25 October.
@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("30 2 * * *", "2026-03-27T12:00Z", ["03-28 02:30 CET", "03-29 03:00 CEST", "03-30 02:30 CEST"]),
        ("15,30,45 2 * * *", "2026-03-28T12:00Z", ["03-29 03:00 CEST", "03-30 02:15 CEST"]),
        ("0 2,3 * * *", "2026-03-28T12:00Z", ["03-29 03:00 CEST", "03-30 02:00 CEST", "03-30 03:00 CEST"]),
        ("0 3 * * *", "2026-03-28T12:00Z", ["03-29 03:00 CEST", "03-30 03:00 CEST"]),
        ("*/30 2 * * *", "2026-03-28T12:00Z", ["03-29 03:00 CEST", "03-30 02:00 CEST", "03-30 02:30 CEST"]),
        ("30 */2 * * *", "2026-03-28T22:00Z", ["03-29 00:30 CET", "03-29 03:00 CEST", "03-29 04:30 CEST"]),
        ("*/30 * * * *", "2026-03-29T00:00Z", ["03-29 01:30 CET", "03-29 03:00 CEST", "03-29 03:30 CEST"]),
        ("30 2 * * *", "2026-10-24T12:00Z", ["10-25 02:30 CEST", "10-26 02:30 CET"]),
        ("30 */2 * * *", "2026-10-24T22:00Z", ["10-25 00:30 CEST", "10-25 02:30 CEST", "10-25 04:30 CET"]),
        ("30 2 * * *", "2026-10-25T01:10Z", ["10-26 02:30 CET"]),  # asked at the second 02:10: the first 02:30 is past
        ("0 2,3 * * *", "2026-10-24T22:00Z", ["10-25 02:00 CEST", "10-25 03:00 CET"]),
        ("0 * * * *", "2026-10-24T23:30Z", ["10-25 02:00 CEST", "10-25 02:00 CET", "10-25 03:00 CET"]),
        ("*/20 0-23 * * *", "2026-10-25T00:30Z", ["10-25 02:40 CEST", "10-25 02:00 CET", "10-25 02:20 CET"]),
        ("0 9 * * 1-5", "2026-10-23T12:00Z", ["10-26 09:00 CET", "10-27 09:00 CET"]),
        ("0 0 L * *", "2026-01-30T12:00Z", ["01-31 00:00 CET", "02-28 00:00 CET"]),
        ("0 0 29 2 *", "2026-01-01T00:00Z", ["02-29 00:00 CET", "02-29 00:00 CET"]),
    ],
)
def test_cron_ticks_once_where_clocks_change(cron: str, after: str, expected: list[str]) -> None:
    assert shown(Rule(cron=cron, timezone="Europe/Paris"), after, len(expected)) == expected


def test_a_zone_that_skips_a_whole_day_ticks_at_its_end() -> None:
    rule = Rule(cron="0 12 * * *", timezone="Pacific/Apia")  # there was no 30 December 2011
    assert shown(rule, "2011-12-29T00:00Z", 3) == ["12-29 12:00 -10", "12-31 00:00 +14", "12-31 12:00 +14"]


def test_half_an_hour_of_change_is_no_trouble() -> None:
    rule = Rule(cron="15 2 * * *", timezone="Australia/Lord_Howe")  # 02:00 becomes 02:30 on 4 October 2026
    assert shown(rule, "2026-10-02T20:00Z", 2) == ["10-04 02:30 +11", "10-05 02:15 +11"]


@pytest.mark.parametrize(
    ("every", "start", "after", "expected"),
    [
        (
            Every.DAILY,
            "2026-03-28T02:30+01:00",
            "2026-03-01T00:00Z",
            ["03-28 02:30 CET", "03-29 03:00 CEST", "03-30 02:30 CEST"],
        ),
        (Every.DAILY, "2026-10-24T02:30+02:00", "2026-10-24T12:00Z", ["10-25 02:30 CEST", "10-26 02:30 CET"]),
        (Every.DAILY, "2026-10-25T02:30+01:00", "2026-10-25T01:00Z", ["10-25 02:30 CET", "10-26 02:30 CET"]),
        (Every.WEEKLY, "2026-10-22T09:00+02:00", "2026-10-22T12:00Z", ["10-29 09:00 CET", "11-05 09:00 CET"]),
        (
            Every.MONTHLY,
            "2026-01-31T09:00+01:00",
            "2026-01-31T12:00Z",
            ["02-28 09:00 CET", "03-31 09:00 CEST", "04-30 09:00 CEST"],
        ),
        (
            Every.QUARTERLY,
            "2026-08-31T09:00+02:00",
            "2026-08-31T12:00Z",
            ["11-30 09:00 CET", "02-28 09:00 CET", "05-31 09:00 CEST"],
        ),
        (
            Every.YEARLY,
            "2024-02-29T09:00+01:00",
            "2024-03-01T00:00Z",
            ["02-28 09:00 CET", "02-28 09:00 CET", "02-28 09:00 CET"],
        ),
        (Every.YEARLY, "2024-02-29T09:00+01:00", "2027-03-01T00:00Z", ["02-29 09:00 CET"]),
    ],
)
def test_periods_count_from_the_first_tick(every: Every, start: str, after: str, expected: list[str]) -> None:
    assert shown(Rule(every=every, start=at(start), timezone="Europe/Paris"), after, len(expected)) == expected


@pytest.mark.parametrize("every", Every)
def test_the_first_tick_is_the_start_and_much_later_ones_are_found_at_once(every: Every) -> None:
    start = at("2000-01-31T12:00Z")
    rule = Rule(every=every, start=start)
    assert next_tick(rule, start - timedelta(days=400)) == start
    ticks = list(islice(ticks_after(rule, start - timedelta(seconds=1)), 300))
    for before, tick in pairwise(ticks):
        assert next_tick(rule, before) == tick
        assert next_tick(rule, tick - timedelta(microseconds=1)) == tick


def test_a_cron_does_not_tick_before_its_start_but_at_it() -> None:
    rule = Rule(cron="0 3 * * *", start=at("2030-01-05T03:00Z"))
    assert next_tick(rule, at("2030-01-01T00:00Z")) == at("2030-01-05T03:00Z")
    assert next_tick(rule, at("2030-01-05T03:00Z")) == at("2030-01-06T03:00Z")


def test_what_never_comes_again_has_no_next_tick() -> None:
    assert next_tick(Rule(every=Every.YEARLY, start=at("2030-01-01")), at("9999-06-01T00:00Z")) is None


@pytest.mark.parametrize(
    "text",
    [
        "0 3 * *",
        "0 3 * * * * *",
        "61 * * * * *",
        "61 * * * *",
        "* * 30 2 *",
        "daily",
        "@fortnightly",
        "",
        "0 3 * * mon-",
        "0 0 31 4,6 *",
    ],
)
def test_what_is_not_a_cron_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"cron expression|never"):
        check_cron(text)


@pytest.mark.parametrize(
    "text",
    [
        "0 3 * * 1-5",
        "*/5 * * * *",
        "0 0 L * *",
        "0 9 * * MON#1",
        "0 0 29 2 *",
        "*/10 * * * * *",
        "@daily",
        "@ANNUALLY",
    ],
)
def test_cron_expressions_are_accepted(text: str) -> None:
    check_cron(text)


@pytest.mark.parametrize("name", ["Europe/Pariss", "", "../etc/passwd", "Europe", "CEST", "\x00"])
def test_what_is_no_time_zone_is_told(name: str) -> None:
    with pytest.raises(ValueError, match="not a time zone"):
        check_timezone(name)


def test_jitter_is_within_its_bounds_spread_and_the_same_each_time() -> None:
    most = timedelta(seconds=30)
    ticks = [at("2030-01-01") + timedelta(days=number) for number in range(100)]
    delays = [jitter(ID, tick, most) for tick in ticks]
    assert delays == [jitter(ID, tick, most) for tick in ticks]
    assert all(timedelta() <= delay < most for delay in delays)
    assert max(delays) - min(delays) > most / 2
    assert jitter(ID, ticks[0], timedelta()) == timedelta()


@given(
    zone=st.sampled_from(sorted(list_timezones() - {"localtime", "Factory", "posixrules"})),
    minute=st.integers(0, 24 * 60 - 1),
    day=st.dates(date(2020, 1, 1), date(2035, 1, 1)),
)
@settings(max_examples=60, deadline=None)
def test_a_time_of_day_ticks_once_on_every_day_of_every_zone(zone: str, minute: int, day: date) -> None:
    start = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    by_cron = Rule(cron=f"{minute % 60} {minute // 60} * * *", timezone=zone)
    first = next_tick(by_cron, start)
    assert first is not None
    ticks = list(islice(ticks_after(by_cron, start), 370))
    # By elapsed time, because a gap may end on the next day. No zone has changed its clocks by more than three hours
    # since 2020.
    assert all(timedelta(hours=21) <= later - earlier <= timedelta(hours=27) for earlier, later in pairwise(ticks))
    assert all(tick > start for tick in ticks)
    assert ticks == sorted(ticks)
    if (first.astimezone(ZoneInfo(zone)).minute, first.astimezone(ZoneInfo(zone)).hour) == (minute % 60, minute // 60):
        assert list(islice(ticks_after(Rule(every=Every.DAILY, start=first, timezone=zone), start), 370)) == ticks


@pytest.mark.parametrize(
    ("macro", "expression"),
    [
        ("@hourly", "0 * * * *"), ("@daily", "0 0 * * *"), ("@midnight", "0 0 * * *"), ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"), ("@yearly", "0 0 1 1 *"), ("@annually", "0 0 1 1 *"),
    ],
)  # fmt: skip
def test_a_macro_stands_for_an_expression(macro: str, expression: str) -> None:
    first, second = (
        list(islice(ticks_after(Rule(cron=cron, timezone="Europe/Paris"), at("2026-03-01")), 30))
        for cron in (macro, expression)
    )
    assert first == second


def test_an_expression_of_six_fields_names_the_second() -> None:
    rule = Rule(cron="*/20 59 23 * * *", timezone="Europe/Paris")
    ticks = list(islice(ticks_after(rule, at("2026-03-28T12:00Z")), 4))
    assert [f"{tick:%d %H:%M:%S}" for tick in ticks] == ["28 22:59:00", "28 22:59:20", "28 22:59:40", "29 21:59:00"]
    in_the_gap = next_tick(Rule(cron="30 30 2 * * *", timezone="Europe/Paris"), at("2026-03-28T12:00Z"))
    assert in_the_gap == at("2026-03-29T01:00Z")


def test_no_tick_is_after_the_end_and_one_at_the_end_is_the_last() -> None:
    rule = Rule(cron="@daily", end=at("2026-01-03T00:00Z"))
    assert [tick.day for tick in ticks_after(rule, at("2026-01-01T00:00Z"))] == [2, 3]
    assert next_tick(Rule(every=Every.DAILY, start=at("2026-01-01"), end=at("2026-01-02")), at("2026-01-02")) is None
