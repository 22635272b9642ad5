"""When the admins are notified of workload: at 75 and 100 % of a month's allowance, and in an unusual hour."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Final

ALLOWANCE_PERCENTS: Final = (75, 100)
SPIKE: Final = "spike"
_HOUR: Final = timedelta(hours=1)
_WEEK_HOURS: Final = 168
_MIN_HOURS: Final = 24


@dataclass(frozen=True, slots=True)
class WorkloadReading:
    """Units an environment has consumed: since `month` began, and by hour for a week up to the current `hour`."""

    environment: str
    month: datetime
    hour: datetime
    allowance: float
    spike_factor: float
    spike_minimum: float
    month_units: float
    units_by_hour: Mapping[datetime, float]


@dataclass(frozen=True, slots=True)
class WorkloadWarning:
    """A threshold that was reached: `units` of `limit`, in what began at `since`. It is given once in the period that
    began then: a month, or the day of an hour. `usual` are the units of an ordinary hour. `is_told`: by mail, because
    no higher one says more.
    """

    threshold: str
    units: float
    limit: float
    since: datetime
    usual: float | None = None
    is_told: bool = True


def find_warnings(reading: WorkloadReading) -> Iterator[WorkloadWarning]:
    """The thresholds that are reached, whether or not they were reported before."""
    reached = reached_percents(reading.month_units, reading.allowance)
    for percent in reached:
        limit = reading.allowance * percent / 100
        yield WorkloadWarning(
            f"allowance_{percent}", reading.month_units, limit, reading.month, is_told=percent == reached[-1]
        )
    # The hour before too: what was flushed in its last seconds is not to escape.
    for hour in (reading.hour - _HOUR, reading.hour):
        usual, units = usual_units(reading.units_by_hour, hour), reading.units_by_hour.get(hour, 0.0)
        if (
            usual is not None
            and reading.spike_factor > 0
            and units >= (limit := max(usual * reading.spike_factor, reading.spike_minimum))
        ):
            yield WorkloadWarning(SPIKE, units, limit, hour, usual)


def reached_percents(units: float, allowance: float) -> tuple[int, ...]:
    """Those of ALLOWANCE_PERCENTS that `units` have reached, in order; none when there is no allowance (0)."""
    return tuple(percent for percent in ALLOWANCE_PERCENTS if 0 < allowance * percent / 100 <= units)


def usual_units(units_by_hour: Mapping[datetime, float], hour: datetime) -> float | None:
    """The median of the hours in the week before `hour`, from the first with any workload; empty hours count as 0.

    None when there is less than a day to compare with: a new installation has no usual hour.
    """
    earlier = [known for known in units_by_hour if hour - _WEEK_HOURS * _HOUR <= known < hour]
    hours = round((hour - min(earlier)) / _HOUR) if earlier else 0
    if hours < _MIN_HOURS:
        return None
    return median([units_by_hour.get(hour - back * _HOUR, 0.0) for back in range(1, hours + 1)])
