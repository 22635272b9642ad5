"""Claims, many in one statement. What cannot be claimed because of a protection is terminated at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter
from uuid import UUID

from penstock.broker.publisher import Publisher
from penstock.contracts.topology import BULK_LANE, DEFAULT_LANE, LANES
from penstock.db import Coalescer, Connection, Database
from penstock.domain.runs import Terminated
from penstock.logs import get_logger
from penstock.runs.terminations import record_observations, record_terminations
from penstock_executor.repository.claims import (
    Cut,
    claim_runs,
    has_queued_runs,
    observe_claimed_runs,
    terminate_queued_runs,
)
from penstock_executor.runs import ClaimedRun

log = get_logger(__name__)
_AT_ONCE = 2
"""Claims under way, for each lane."""
_MAX_REQUESTS = 20


@dataclass(frozen=True, slots=True)
class Claimed:
    """What became of runs that were asked for; those in neither list belong to others, or have ended."""

    runs: list[ClaimedRun]
    terminated: list[Terminated]


class Claims:
    """Claims runs for this executor, `owner`, for `lease` at first."""

    def __init__(self, database: Database, publisher: Publisher, *, owner: str, lease: timedelta) -> None:
        self._database = database
        self._publisher = publisher
        self.owner = owner
        self._lease = lease
        self._batches: dict[str, Coalescer[Sequence[UUID], Claimed]] = {
            lane: Coalescer(self._flush, name="claims", lanes=_AT_ONCE, most=_MAX_REQUESTS) for lane in LANES
        }

    async def claim(self, run_ids: Sequence[UUID], lane: str = DEFAULT_LANE) -> Claimed:
        """Claim those that can be, in order of priority. What people wait for does not wait behind a claim of bulk.

        Raises DatabaseUnavailable; the runs may be claimed then, and a scheduler takes them back when their leases
        expire.
        """
        return await self._batches[lane].submit(run_ids)

    def give_way(self, grain: int | None) -> None:
        """Claim `grain` runs of bulk at a time, one batch after the other; None: as many together as there are."""
        if grain is None:
            self._batches[BULK_LANE].adjust(lanes=_AT_ONCE, most=_MAX_REQUESTS)
        else:
            self._batches[BULK_LANE].adjust(lanes=1, most=grain, weigh=len)

    async def claim_within(self, conn: Connection, run_ids: Sequence[UUID]) -> list[ClaimedRun]:
        """Claim those that can be, in the caller's transaction, which has admitted them."""
        return await claim_runs(conn, run_ids=run_ids, owner=self.owner, lease=self._lease)

    async def refuse(self, run_ids: Sequence[UUID]) -> list[Terminated]:
        """Terminate those that are beyond the depth limit, and claim none."""
        terminated = await self._database.in_transaction(lambda conn: _terminate(conn, run_ids))
        for end in terminated:
            self._publisher.terminated(end.run, end.reason, end.path)
        return terminated

    async def can_be_this_deep(self, run_ids: Sequence[UUID], depth: int) -> bool:
        """Whether any of these runs is queued at this very depth, and may be; asked after `refuse`."""
        async with self._database.connection() as conn:
            return await has_queued_runs(conn, run_ids=run_ids, depth=depth)

    async def _flush(self, requests: list[Sequence[UUID]]) -> Sequence[Claimed | BaseException]:
        # By their bytes: two kinds of UUID meet here, which are compared in Python.
        wanted = {run_id.bytes: run_id for request in requests for run_id in request}
        async with self._database.connection() as conn:
            runs = await claim_runs(conn, run_ids=list(wanted.values()), owner=self.owner, lease=self._lease)
        await self._observe([run.id for run in runs if run.is_deep])
        claimed = {run.id.bytes: run for run in runs}
        missing = [run_id for key, run_id in wanted.items() if key not in claimed]
        terminated = {end.run.id.bytes: end for end in await self._terminate_missing(missing)}
        return [_share([run_id.bytes for run_id in request], claimed, terminated) for request in requests]

    async def _observe(self, run_ids: Sequence[UUID]) -> None:
        """Record that these would have been terminated, were depth not only observed: before they schedule others,
        which are not recorded again. Never fails: what is claimed already must not be lost with it.
        """
        if not run_ids:
            return
        try:
            for cut in await self._database.in_transaction(lambda conn: _note_observed(conn, run_ids)):
                self._publisher.observed(cut.environment, cut.reason)
        except Exception as error:
            log.warning("claim.observation_failed", error=f"{type(error).__name__}: {error}", runs=len(run_ids))

    async def _terminate_missing(self, run_ids: Sequence[UUID]) -> list[Terminated]:
        """Those that a protection kept from being claimed. Never raises: that would lose what is claimed already."""
        if not run_ids:
            return []
        try:
            return await self.refuse(run_ids)
        except Exception as error:
            log.warning("claim.termination_failed", error=f"{type(error).__name__}: {error}", runs=len(run_ids))
            return []


def _share(
    request: Sequence[bytes], claimed: dict[bytes, ClaimedRun], terminated: Mapping[bytes, Terminated]
) -> Claimed:
    """The part of a batch that one request asked for; a run asked for twice goes to the first."""
    runs = [claimed.pop(key) for key in request if key in claimed]
    runs.sort(key=attrgetter("priority"))
    return Claimed(runs, [terminated[key] for key in request if key in terminated] if terminated else [])


async def _note_observed(conn: Connection, run_ids: Sequence[UUID]) -> list[Cut]:
    found = await observe_claimed_runs(conn, run_ids=run_ids)
    if found:
        await record_observations(conn, {run_id: cut.reason for run_id, cut in found.items()})
    return list(found.values())


async def _terminate(conn: Connection, run_ids: Sequence[UUID]) -> list[Terminated]:
    stopped = await terminate_queued_runs(conn, run_ids=run_ids)
    if not stopped:
        return []
    paths = await record_terminations(conn, {run.id: reason for run, reason, _ in stopped})
    return [Terminated(run, reason, limit, paths[run.id]) for run, reason, limit in stopped]
