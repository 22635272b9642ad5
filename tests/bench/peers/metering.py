"""What a job costs: processor time, WAL and commits."""

from dataclasses import dataclass
from typing import Self

import asyncpg

from tests.bench.machine import list_processes

_PROGRAMS = ("postgres", "beam.smp")


@dataclass(frozen=True, slots=True)
class Figures:
    """Jobs per second. For each job: microseconds of processor time of the worker, of PostgreSQL and of RabbitMQ, bytes
    of WAL, and commits.
    """

    per_second: float
    worker_us: float
    postgres_us: float
    rabbitmq_us: float
    wal_bytes: float
    commits: float


class Meter:
    """What the servers did over an `async with` block. Nothing else may use them meanwhile."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url

    async def __aenter__(self) -> Self:
        self._before = await self._read()
        return self

    async def __aexit__(self, *_: object) -> None:
        after = await self._read()
        self._used = [last - first for first, last in zip(self._before, after, strict=True)]

    def figures(self, jobs: int, per_second: float, worker_seconds: float) -> Figures:
        """For each of `jobs`."""
        postgres, rabbitmq, wal, commits = (used / jobs for used in self._used)
        return Figures(
            per_second=round(per_second, 1),
            worker_us=round(worker_seconds / jobs * 1e6, 1),
            postgres_us=round(postgres * 1e6, 1),
            rabbitmq_us=round(rabbitmq * 1e6, 1),
            wal_bytes=round(wal),
            commits=round(commits, 2),
        )

    async def _read(self) -> tuple[float, float, float, float]:
        connection = await asyncpg.connect(self._url)
        try:
            row = await connection.fetchrow(
                """
                SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 AS wal,
                       (SELECT sum(xact_commit) FROM pg_stat_database)::float8 AS commits
                """
            )
        finally:
            await connection.close()
        assert row is not None, "a select without FROM has one row"
        seconds = dict.fromkeys(_PROGRAMS, 0.0)
        for name, _, used in list_processes().values():
            if name in seconds:
                seconds[name] += used
        return *(seconds[name] for name in _PROGRAMS), row["wal"], row["commits"]


def processor_time(root: int) -> float:
    """Seconds of a process and all below it."""
    processes = list_processes()
    members = {root}
    while more := {pid for pid, (_, parent, _) in processes.items() if parent in members} - members:
        members |= more
    return sum(processes[pid][2] for pid in members if pid in processes)
