"""Meters workload: every process sums in memory what happens in it, and adds that to the sums of the current hour every
few seconds.

*Guarantees.* A run's own total is written by the statement that ends its attempt, so it is as exact as the run's state.
The hourly sums are not: a process that dies loses what it has not flushed, a few seconds of them, and a flush whose
outcome is unknown may be counted twice. What happens in the last seconds of an hour may count for the next one. Weights
are read again with each flush, so a change holds for what happens a few seconds after it; what was counted keeps the
units it was counted with.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from penstock.db import Connection, Database
from penstock.definitions.models import ENVIRONMENTS
from penstock.domain.weights import Weights, make_weights, weigh
from penstock.domain.workload import ACTIVITIES, POSITIONS, Activity, Counts, add_counts, no_counts
from penstock.logs import get_logger
from penstock.metrics import WORKLOAD_UNITS
from penstock.store.weights import list_changed_weights

log = get_logger(__name__)

FLUSH_SECONDS: Final = 5.0
_MAX_WEIGHED: Final = 1000


@dataclass(frozen=True, slots=True)
class Consumed:
    """What is added to the sums of the current hour."""

    environment: str
    workflow: str
    activity: Activity
    count: int
    units: float


class Meter:
    """The meter of one process. A workflow's name is empty for what belongs to none."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._weights: Mapping[str, Weights] = {environment: make_weights({}) for environment in ENVIRONMENTS}
        self._counts: dict[tuple[str, str], Counts] = {}
        self._weighed: dict[tuple[str, tuple[int, ...]], float] = {}
        """By environment and counts: most runs of a workflow consume the same."""

    def weigh(self, environment: str, counts: Counts) -> float:
        """Workload units, by the weights as this process knows them."""
        key = (environment, tuple(counts))
        units = self._weighed.get(key)
        if units is None:
            if len(self._weighed) >= _MAX_WEIGHED:
                self._weighed.clear()
            units = self._weighed[key] = weigh(counts, self._weights[environment])
        return units

    def add(self, environment: str, workflow: str, counts: Counts) -> None:
        """Note what a run, or a request, has consumed."""
        key = (environment, workflow)
        known = self._counts.get(key)
        self._counts[key] = list(counts) if known is None else add_counts(known, counts)

    def count(self, environment: str, workflow: str, used: Mapping[Activity, int]) -> None:
        """Note single activities."""
        counts = self._counts.setdefault((environment, workflow), no_counts())
        for activity, number in used.items():
            counts[POSITIONS[activity]] += number

    async def flush(self) -> None:
        """Write what was noted since the last time, and read the weights. Raises DatabaseUnavailable; what was noted is
        kept then.
        """
        counts, self._counts = self._counts, {}
        consumed = list(self._list_consumed(counts))
        try:
            if consumed:
                async with self._database.connection() as conn:
                    await add_consumed(conn, consumed=consumed)
        except BaseException:
            for (environment, workflow), noted in counts.items():
                self.add(environment, workflow, noted)
            raise
        for part in consumed:
            WORKLOAD_UNITS.labels(part.environment, part.activity.value).inc(part.units)
        async with self._database.connection() as conn:
            self._weights = {
                environment: make_weights(changed)
                for environment, changed in (await list_changed_weights(conn)).items()
            }
        self._weighed.clear()

    async def close(self) -> None:
        """Write what is left; what cannot be written now is lost, with a line in the log."""
        try:
            await self.flush()
        except Exception as error:
            log.warning("workload.not_written", error=f"{type(error).__name__}: {error}")

    def _list_consumed(self, noted: Mapping[tuple[str, str], Counts]) -> Iterator[Consumed]:
        for (environment, workflow), counts in noted.items():
            for activity, count, weight in zip(ACTIVITIES, counts, self._weights[environment], strict=True):
                if count:
                    yield Consumed(environment, workflow, activity, count, count * weight)


async def add_consumed(conn: Connection, *, consumed: Sequence[Consumed]) -> None:
    """Add to the sums of the current hour, rows in one order, so that two processes wait for each other instead of
    both.
    """
    await conn.execute(
        """
        INSERT INTO penstock.workload AS w (environment, hour, workflow, activity, count, units)
        SELECT q.environment, date_trunc('hour', statement_timestamp(), 'UTC'), q.workflow, q.activity, q.count, q.units
        FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::float8[]) AS q (environment, workflow,
            activity, count, units)
        ORDER BY q.environment, q.workflow, q.activity
        ON CONFLICT (environment, hour, workflow, activity)
            DO UPDATE SET count = w.count + EXCLUDED.count, units = w.units + EXCLUDED.units
        """,
        [part.environment for part in consumed],
        [part.workflow for part in consumed],
        [part.activity.value for part in consumed],
        [part.count for part in consumed],
        [part.units for part in consumed],
    )
