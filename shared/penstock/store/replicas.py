"""What each process of a service reports of itself every few seconds: that it is there, and what it has counted.

*Guarantees.* A process that ends orderly removes its row; of one that died the row stays and grows old, and is removed
after SILENT_KEPT. Counts by minute are those of the process's metrics. What a process counted and had not reported when
it died is missing, and a report whose outcome is unknown may be counted twice. Runs that were cancelled while nobody
performed them are not counted.
"""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.metadata import version
from secrets import token_hex
from typing import Final, Literal

from penstock import clock
from penstock.db import Connection, Database
from penstock.logs import get_logger
from penstock.metrics import read_run_counts

log = get_logger(__name__)
REPORT_SECONDS: Final = 5.0
SILENT_AFTER: Final = timedelta(seconds=20)
"""A replica that was not seen for this long does not work, or cannot reach the database."""
SILENT_KEPT: Final = timedelta(hours=1)
MINUTES_KEPT: Final = timedelta(hours=25)
MAX_REPLICAS: Final = 500
Service = Literal["ingress", "scheduler", "executor"]
Counted = Mapping[tuple[str, str], int]
"""How many runs, by environment and outcome."""


@dataclass(frozen=True, slots=True)
class ReplicaRow:
    """A replica as it was last seen; `stuck` says in words what in it does not move."""

    id: str
    service: Service
    host: str
    release: str
    started_at: datetime
    seen_at: datetime
    stuck: Sequence[str]
    is_silent: bool


@dataclass(frozen=True, slots=True)
class Minute:
    """How many runs came to an outcome in a minute."""

    minute: datetime
    outcome: str
    runs: int


class Tally:
    """What this process has counted since it was last asked. Metrics are the process's, and so is this."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], int] = {}

    def take(self) -> Counted:
        """What came since the last time."""
        now = read_run_counts()
        new = {key: count - self._known.get(key, 0) for key, count in now.items()}
        self._known = dict(now)
        return {key: count for key, count in new.items() if count > 0}

    def give_back(self, taken: Counted) -> None:
        """What was taken could not be written."""
        for key, count in taken.items():
            self._known[key] = self._known.get(key, 0) - count


TALLY: Final = Tally()


@dataclass(slots=True)
class Replica:
    """One service in this process, and what it reports."""

    database: Database
    service: Service
    find_stuck: Callable[[], Sequence[str]]
    tally: Tally = TALLY
    id: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}")
    started_at: datetime = field(default_factory=clock.now)

    async def report(self) -> None:
        """Note that the replica is there, and what this process has counted. Raises DatabaseUnavailable; then counts
        are kept.
        """
        counted = self.tally.take()
        try:
            async with self.database.connection() as conn:
                await note_replica(conn, replica=self)
                if counted:
                    await add_minutes(conn, counted=counted)
        except BaseException:
            self.tally.give_back(counted)
            raise

    async def leave(self) -> None:
        """Report what is left, and remove the row; where that cannot be written, it grows old."""
        try:
            await self.report()
            async with self.database.connection() as conn:
                await remove_replica(conn, id=self.id)
        except Exception as error:
            log.warning("replica.not_removed", error=f"{type(error).__name__}: {error}")


async def note_replica(conn: Connection, *, replica: Replica) -> None:
    """Write that the replica is there now."""
    await conn.execute(
        """
        INSERT INTO penstock.replicas (id, service, host, release, started_at, stuck)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (id) DO UPDATE SET seen_at = clock_timestamp(), stuck = EXCLUDED.stuck
        """,
        replica.id,
        replica.service,
        socket.gethostname(),
        version("penstock"),
        replica.started_at,
        replica.find_stuck(),
    )


async def add_minutes(conn: Connection, *, counted: Counted) -> None:
    """Add to the counts of the current minute, in one order, so that two processes wait for each other instead of
    both.
    """
    rows = sorted(counted.items())
    await conn.execute(
        """
        INSERT INTO penstock.run_minutes AS m (environment, minute, outcome, runs)
        SELECT q.environment, date_trunc('minute', statement_timestamp()), q.outcome, q.runs
        FROM unnest($1::text[], $2::text[], $3::bigint[]) AS q (environment, outcome, runs)
        ORDER BY q.environment, q.outcome
        ON CONFLICT (environment, minute, outcome) DO UPDATE SET runs = m.runs + EXCLUDED.runs
        """,
        [environment for (environment, _), _ in rows],
        [outcome for (_, outcome), _ in rows],
        [count for _, count in rows],
    )


async def remove_replica(conn: Connection, *, id: str) -> None:
    """Remove a replica that ends."""
    await conn.execute("DELETE FROM penstock.replicas WHERE id = $1", id)


async def list_replicas(conn: Connection) -> list[ReplicaRow]:
    """All replicas, by service and age; those that were not seen for a while are silent."""
    rows = await conn.fetch(
        """
        SELECT p.id, p.service, p.host, p.release, p.started_at, p.seen_at, p.stuck,
               p.seen_at < clock_timestamp() - $1::interval AS is_silent
        FROM penstock.replicas p
        ORDER BY p.service, p.started_at, p.id
        LIMIT $2
        """,
        SILENT_AFTER,
        MAX_REPLICAS,
    )
    return [ReplicaRow(**row) for row in rows]


async def list_minutes(conn: Connection, *, environment: str, since: datetime) -> list[Minute]:
    """How many runs were admitted and ended in each minute, the oldest first."""
    rows = await conn.fetch(
        """
        SELECT m.minute, m.outcome, m.runs FROM penstock.run_minutes m
        WHERE m.environment = $1 AND m.minute >= $2
        ORDER BY m.minute, m.outcome
        """,
        environment,
        since,
    )
    return [Minute(**row) for row in rows]


async def delete_old_replicas(conn: Connection) -> int:
    """Delete the rows of replicas that died, and counts of old minutes; returns how many rows."""
    gone: int = await conn.fetchval(
        """
        WITH dead AS (
            DELETE FROM penstock.replicas WHERE seen_at < clock_timestamp() - $1::interval RETURNING 1
        ), old AS (
            DELETE FROM penstock.run_minutes WHERE minute < clock_timestamp() - $2::interval RETURNING 1
        )
        SELECT (SELECT count(*) FROM dead) + (SELECT count(*) FROM old)
        """,
        SILENT_KEPT,
        MINUTES_KEPT,
    )
    return gone
