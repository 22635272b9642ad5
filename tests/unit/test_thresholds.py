"""When workload is worth a warning: shares of a month's allowance, and hours far above the usual."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from penstock.domain.thresholds import WorkloadReading, WorkloadWarning, find_warnings, reached_percents, usual_units
from penstock_scheduler import rules

MONTH = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = datetime(2030, 1, 20, 9, tzinfo=UTC)
ONE = timedelta(hours=1)
READING = WorkloadReading("live", MONTH, HOUR, 0.0, 0.0, 0.0, 0.0, {})


@pytest.mark.parametrize(
    ("units", "allowance", "expected"),
    [
        (0, 0, ()),
        (1e9, 0, ()),
        (74.9, 100, ()),
        (75, 100, (75,)),
        (99.9, 100, (75,)),
        (100, 100, (75, 100)),
        (1e9, 100, (75, 100)),
    ],
)
def test_shares_of_the_allowance(units: float, allowance: float, expected: tuple[int, ...]) -> None:
    assert reached_percents(units, allowance) == expected


def _week(units: float, *, hours: int = 168) -> dict[datetime, float]:
    return {HOUR - back * ONE: units for back in range(1, hours + 1)}


def test_the_usual_hour_is_the_median_of_a_week() -> None:
    assert usual_units(_week(10.0), HOUR) == 10.0
    assert usual_units({**_week(10.0), HOUR - 5 * ONE: 1e6, HOUR: 1e9}, HOUR) == 10.0


def test_hours_without_anything_count_and_those_before_the_first_do_not() -> None:
    assert usual_units({HOUR - 30 * ONE: 10.0, HOUR - 1 * ONE: 10.0}, HOUR) == 0.0
    assert usual_units(_week(10.0, hours=24), HOUR) == 10.0


@pytest.mark.parametrize("known", [{}, {HOUR: 5.0}, {HOUR - 23 * ONE: 5.0}, {HOUR - 169 * ONE: 5.0}])
def test_who_has_just_begun_has_no_usual_hour(known: dict[datetime, float]) -> None:
    assert usual_units(known, HOUR) is None


def test_only_the_highest_share_is_told() -> None:
    both = list(find_warnings(replace(READING, allowance=100.0, month_units=250.0)))
    assert both == [
        WorkloadWarning("allowance_75", 250.0, 75.0, MONTH, is_told=False),
        WorkloadWarning("allowance_100", 250.0, 100.0, MONTH),
    ]
    (one,) = find_warnings(replace(READING, allowance=100.0, month_units=80.0))
    assert (one.threshold, one.is_told) == ("allowance_75", True)


@pytest.mark.parametrize(("units", "is_spike"), [(2999.0, False), (3000.0, True)])
def test_a_spike_is_a_multiple_of_the_usual_hour(units: float, is_spike: bool) -> None:
    reading = replace(READING, spike_factor=3.0, spike_minimum=100.0, units_by_hour={**_week(1000.0), HOUR: units})
    assert [warning.since for warning in find_warnings(reading)] == ([HOUR] if is_spike else [])


def test_nothing_below_the_minimum_is_a_spike() -> None:
    reading = replace(READING, spike_factor=3.0, spike_minimum=1000.0, units_by_hour={**_week(0.01), HOUR: 999.0})
    assert not list(find_warnings(reading))
    (warning,) = find_warnings(replace(reading, units_by_hour={**_week(0.01), HOUR: 1000.0}))
    assert (warning.threshold, warning.limit, warning.usual) == ("spike", 1000.0, 0.01)


def test_the_end_of_the_hour_before_is_not_missed() -> None:
    reading = replace(READING, spike_factor=3.0, units_by_hour={**_week(1.0, hours=100), HOUR - ONE: 50.0})
    assert [warning.since for warning in find_warnings(reading)] == [HOUR - ONE]


def test_a_factor_of_zero_finds_no_spikes() -> None:
    assert not list(find_warnings(replace(READING, units_by_hour={**_week(1.0), HOUR: 1e9})))


def test_admins_are_told_what_happened_and_what_to_do() -> None:
    spike = WorkloadWarning("spike", 5000.0, 3000.0, HOUR, usual=1000.0)
    message = rules.describe_warning("live", spike)
    assert message == (
        "live has consumed 5,000 workload units in the hour from 2030-01-20 09:00 UTC; an ordinary hour of the last "
        "week had 1,000, "
        "and more than 3,000 count as a spike"
    )
    allowance = rules.describe_warning("live", WorkloadWarning("allowance_75", 76000.0, 75000.0, MONTH))
    assert allowance == (
        "live has consumed 76,000 workload units since 2030-01-01, which is 75 % of the month's allowance or more "
        "(75,000 units)"
    )
