"""The leases of the runs that this executor performs.

*Model.* A claim holds until the database's clock passes `lease_expires_at`. One statement renews all leases every third
of that time. *When an executor dies*, its leases expire and a scheduler takes the runs back. *When it stalls* (a
blocked loop, SIGSTOP) past its leases, others may have claimed its runs: the first renewal afterwards says so and those
runs are cancelled here, and what they write before they notice names an attempt that is over, and changes nothing.
*When the database is away*, runs wait for it as long as their leases may hold, then stop: from that moment another
executor may perform them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Final, TypeVar
from uuid import UUID

from penstock.contracts.topology import DEFAULT_LANE
from penstock.db import Database
from penstock.errors import DatabaseUnavailable, LeaseLost
from penstock.logs import get_logger
from penstock.metrics import LEASES_LOST
from penstock_executor.repository.held_runs import list_held, renew_leases
from penstock_executor.runs import ClaimedRun

log = get_logger(__name__)
T = TypeVar("T")
_TRIES: Final = 3
_PAUSE_SECONDS: Final = 0.05
_FIRST_PAUSE_SECONDS: Final = 0.05
_MAX_PAUSE_SECONDS: Final = 1.0


class Lease:
    """One run, held. `expires_at` is on the loop's clock, and never later than the database's view of it."""

    __slots__ = ("expires_at", "holds_slot", "is_ending", "is_lost", "lane", "reply_to", "run", "task")

    def __init__(self, run: ClaimedRun, reply_to: str | None, expires_at: float) -> None:
        self.run = run
        self.reply_to = reply_to
        self.expires_at = expires_at
        self.task: asyncio.Task[None] | None = None
        self.is_lost = False
        self.holds_slot = True
        self.lane = DEFAULT_LANE
        self.is_ending = False
        """Its last commit is on its way, so that the row may no longer be `running`."""

    def lose(self) -> None:
        """Stop the run here, writing nothing more."""
        if not self.is_lost and not self.is_ending:
            self.is_lost = True
            if self.task is not None:
                self.task.cancel()


async def outlast(lease: Lease, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` returns; while the database is away it is called again, for as long as the lease may hold.

    Raises LeaseLost when the database stays away for longer: another executor may perform the run then.
    """
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            return await work()
        except DatabaseUnavailable as error:
            if asyncio.get_running_loop().time() + pause >= lease.expires_at:
                raise LeaseLost(f"the database was away for longer than the lease holds: {error}") from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, _MAX_PAUSE_SECONDS)


class Leases:
    """All leases of this executor."""

    def __init__(self, database: Database, lease: timedelta) -> None:
        self._database = database
        self._lease = lease
        self._held: dict[UUID, Lease] = {}

    @property
    def period_seconds(self) -> float:
        """How often to renew."""
        return self._lease.total_seconds() / 3

    def begin(self, run: ClaimedRun, reply_to: str | None, claimed_at: float) -> Lease:
        """Hold a run that was claimed; `claimed_at` is the loop's time from before the claim."""
        if (earlier := self._held.get(run.id)) is not None:
            earlier.lose()  # it ran out, and we have claimed the run again
        lease = self._held[run.id] = Lease(run, reply_to, claimed_at + self._lease.total_seconds())
        return lease

    def end(self, lease: Lease) -> None:
        """The run has ended, or is lost."""
        if self._held.get(lease.run.id) is lease:
            del self._held[lease.run.id]

    @property
    def count(self) -> int:
        """How many are held."""
        return len(self._held)

    def list_all(self) -> list[Lease]:
        """Those held at this moment."""
        return list(self._held.values())

    async def renew(self) -> None:
        """Extend all leases; stop the runs whose lease is gone. Raises DatabaseUnavailable."""
        missing = self.list_all()
        for attempt in range(_TRIES):
            missing = await self._renew(missing)
            if not missing:
                return
            await asyncio.sleep(_PAUSE_SECONDS * (attempt + 1))

    async def stop_expired(self) -> None:
        """Stop the runs whose lease has run out. Apart from renewing, which may hang for longer than a lease holds."""
        now = asyncio.get_running_loop().time()
        self._lose(lease for lease in self.list_all() if lease.expires_at <= now)

    async def _renew(self, leases: list[Lease]) -> list[Lease]:
        """Renew these; returns those that a commit of ours has locked just now, to be tried again."""
        if not leases:
            return []
        sent_at = asyncio.get_running_loop().time()
        held = [(lease.run.id, lease.run.attempt) for lease in leases]
        async with self._database.connection() as conn:
            renewed = await renew_leases(conn, held=held, lease=self._lease)
            locked = set() if len(renewed) == len(held) else await list_held(conn, held=held) - renewed
        for lease in leases:
            if lease.run.id in renewed:
                lease.expires_at = sent_at + self._lease.total_seconds()
        self._lose(lease for lease in leases if lease.run.id not in renewed and lease.run.id not in locked)
        return [lease for lease in leases if lease.run.id in locked and self._held.get(lease.run.id) is lease]

    def cancel(self, run_id: UUID) -> None:
        """The run was cancelled: stop it now, if it is performed here, instead of when the next renewal tells."""
        lease = self._held.get(run_id)
        if lease is not None:
            log.info("run.cancelled", run_id=str(run_id), workflow=lease.run.workflow, attempt=lease.run.attempt)
            lease.lose()

    def _lose(self, leases: Iterable[Lease]) -> None:
        for lease in leases:
            if self._held.get(lease.run.id) is lease and not lease.is_ending:
                LEASES_LOST.inc()
                log.warning(
                    "run.lease_lost", run_id=str(lease.run.id), attempt=lease.run.attempt, workflow=lease.run.workflow
                )
                lease.lose()
