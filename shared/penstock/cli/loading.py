"""Starts many runs at a bounded rate of calls, and sums up how they went."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self
from uuid import UUID

from pydantic import JsonValue

from penstock.cli.repository import RunTimes, count_unfinished
from penstock.client.client import Client
from penstock.client.errors import ClientError
from penstock.db import Database

_LOOK_SECONDS: Final = 0.5
_MAX_REFUSALS: Final = 20
"""When this many calls in a row were refused, the rest is not tried."""


@dataclass(frozen=True, slots=True)
class Load:
    """How many runs of what are started, how many calls at the same time, and how long their ends are waited for."""

    environment: str
    workflow: str
    runs: int
    in_flight: int
    within_seconds: float


@dataclass(slots=True)
class Calls:
    """What became of the calls. Times are those of `time.perf_counter`."""

    began: float
    ids: list[UUID] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    refused_in_a_row: int = 0
    accepted: float = 0.0


@dataclass(frozen=True, slots=True)
class Spread:
    """Milliseconds: of the middle one, of the one below which 99 of 100 lie, of the slowest."""

    p50: float
    p99: float
    slowest: float

    @property
    def values(self) -> tuple[float, float, float]:
        """In that order."""
        return self.p50, self.p99, self.slowest

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Self | None:
        """None of nothing."""
        ranked = sorted(seconds)
        if not ranked:
            return None
        p50, p99 = (ranked[min(len(ranked) * percent // 100, len(ranked) - 1)] for percent in (50, 99))
        return cls(*(round(each * 1000, 2) for each in (p50, p99, ranked[-1])))


@dataclass(frozen=True, slots=True)
class Report:
    """How a load went. `wait_ms` is from acceptance to the start, `run_ms` from there to the end of the run."""

    accepted: int
    refused: int
    first_refusal: str | None
    accepted_per_second: float
    ended_per_second: float
    states: Mapping[str, int]
    accept_ms: Spread | None
    wait_ms: Spread | None
    run_ms: Spread | None


async def start_runs(
    client: Client, load: Load, parameters: Mapping[str, JsonValue], note: Callable[[int], object]
) -> Calls:
    """Start the runs, at most `in_flight` calls at a time; `note` hears how many were accepted so far."""
    calls = Calls(time.perf_counter())
    numbers = iter(range(load.runs))

    async def call() -> None:
        for _ in numbers:
            if calls.refused_in_a_row >= _MAX_REFUSALS:
                return
            began = time.perf_counter()
            try:
                run = await client.schedule(load.workflow, parameters)
            except ClientError as error:
                calls.refusals.append(str(error))
                calls.refused_in_a_row += 1
                continue
            calls.refused_in_a_row = 0
            calls.ids.append(run.run_id)
            calls.seconds.append(time.perf_counter() - began)
            note(len(calls.ids))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(load.in_flight, load.runs)):
            group.create_task(call())
    calls.accepted = time.perf_counter()
    return calls


async def wait_for_ends(database: Database, calls: Calls, load: Load, note: Callable[[int], object]) -> None:
    """Wait until all runs have ended, or the time for that is over; `note` hears how many have."""
    deadline = time.perf_counter() + load.within_seconds
    while True:
        async with database.connection() as conn:
            left = await count_unfinished(conn, calls.ids)
        note(len(calls.ids) - left)
        if not left or time.perf_counter() > deadline:
            return
        await asyncio.sleep(_LOOK_SECONDS)


def summarize(calls: Calls, times: Sequence[RunTimes]) -> Report:
    """The figures of a load. Ends count from the first acceptance to the last end, by the database's clock."""
    ends = [run.finished_at for run in times if run.finished_at is not None]
    seconds = (max(ends) - min(run.created_at for run in times)).total_seconds() if ends else 0.0
    return Report(
        accepted=len(calls.ids),
        refused=len(calls.refusals),
        first_refusal=calls.refusals[0] if calls.refusals else None,
        accepted_per_second=round(len(calls.ids) / (calls.accepted - calls.began), 1),
        ended_per_second=round(len(ends) / seconds, 1) if seconds else 0.0,
        states=Counter(run.state for run in times),
        accept_ms=Spread.of(calls.seconds),
        wait_ms=Spread.of([run.waited for run in times if run.waited is not None]),
        run_ms=Spread.of([run.took for run in times if run.took is not None]),
    )
