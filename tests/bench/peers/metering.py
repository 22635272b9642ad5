"""What a job costs: processor time, WAL and commits."""

import os
from dataclasses import dataclass
from typing import Final, Self

import asyncpg

from tests.bench.machine import descendants, list_processes

_POSTGRES: Final = "postgres"
_RABBITMQ: Final = "beam.smp"


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
    """What the servers did over an `async with` block. Nothing else may use them meanwhile.

    PostgreSQL is the one that the database is on, with all its processes; RabbitMQ is what this process has started.
    Where these cannot be found, as on another host's servers, all processes of that name count.
    """

    postgres_seconds: float
    """Processor time of PostgreSQL over the block."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url

    async def __aenter__(self) -> Self:
        self._before = await self._read()
        return self

    async def __aexit__(self, *_: object) -> None:
        after = await self._read()
        self._used = [last - first for first, last in zip(self._before, after, strict=True)]
        self.postgres_seconds = self._used[0]

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
                SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 AS wal,
                       (SELECT sum(xact_commit) FROM pg_stat_database)::float8 AS commits, pg_backend_pid() AS backend
                """
            )
            assert row is not None, "a select without FROM has one row"
            processes = list_processes()
        finally:
            await connection.close()
        _, postmaster, _ = processes.get(row["backend"], ("", 0, 0.0))
        return (
            _seconds_of(_POSTGRES, postmaster, processes),
            _seconds_of(_RABBITMQ, os.getpid(), processes),
            row["wal"],
            row["commits"],
        )


def _seconds_of(program: str, root: int, processes: dict[int, tuple[str, int, float]]) -> float:
    """Processor time of the program's processes below `root`, or of all when there are none below it."""
    ours = {pid for pid in descendants(root, processes) if processes[pid][0] == program}
    return sum(used for pid, (name, _, used) in processes.items() if name == program and (not ours or pid in ours))


def processor_time(root: int) -> float:
    """Seconds of a process and all below it."""
    processes = list_processes()
    return sum(processes[pid][2] for pid in descendants(root, processes))
