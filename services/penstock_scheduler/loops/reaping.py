"""Runs of dead executors are taken back. The only sign of death is a lease that expired by the database's clock.

A run that was only slow finds its attempt outnumbered when it next writes, and stops. A run that outlives no executor
fails for good after the third, so that it cannot take the whole fleet down one by one. Three in a row: an attempt that
has done a step is not held against it, because more than one run dies with an executor, and executors lose the
database, too.

Leases are not indexed: every renewal would have to write the index. So each turn looks at the runs that were handed to
executors first, where those that run mostly are, and at the next part of the others, so that it comes round. It rests
fifty times as long as that took: with a million queued runs it costs about as little as with none.
"""

import time
from functools import partial
from typing import Final
from uuid import UUID

from penstock.db import Connection
from penstock.domain.runs import RunSummary
from penstock.domain.states import RunState
from penstock.logs import get_logger
from penstock.metrics import REAPED
from penstock.runtime import Counts
from penstock.store.logs import LogLine, Subject, error_line, write_logs
from penstock_scheduler.repository import leases as repository
from penstock_scheduler.room import Room

log = get_logger(__name__)
_COUNTERS: Final = {state: REAPED.labels(state.value) for state in (RunState.QUEUED, RunState.FAILED)}

MAX_CRASHES: Final = 3
BATCH: Final = 500
PART: Final = 20_000
"""Runs that a turn looks at behind the first ones."""
_MIN_REST_SECONDS: Final = 1.0
_REST_FACTOR: Final = 50
_CRASHED: Final = (
    f"its executor died {MAX_CRASHES} times in a row before another step of this run was done; look for what exhausts "
    "memory or blocks "
    "in its steps, then retry it from the failed step"
)


async def reap_leases(room: Room) -> Counts:
    """Queue and dispatch expired runs again, or fail them after the third crash; each once, with any number of
    schedulers.
    """
    expired, rest = await _find_expired(room)
    reaped = await room.database.in_transaction(partial(_take_back, expired=expired[:BATCH])) if expired else []
    queued = [run for run in reaped if run.state is RunState.QUEUED]
    failed = [run for run in reaped if run.state is RunState.FAILED]
    await room.dispatches.begin(queued)
    for run in failed:
        room.publisher.run_event("failed", run, reason="crashed")
    for run in reaped:
        log.warning(
            "run.reaped",
            run_id=str(run.id),
            chain_id=str(run.chain_id),
            workflow=run.workflow,
            attempt=run.attempt,
            state=run.state.value,
        )
        _COUNTERS[run.state].inc()
    return Counts({"reaped": len(reaped), "failed": len(failed)}, 0.0 if len(expired) > BATCH else rest)


async def _find_expired(room: Room) -> tuple[list[UUID], float | None]:
    """The runs that were found in this turn's parts, and how long to rest; None: until the loop is woken."""
    watch, began = room.leases, time.monotonic()
    async with room.database.connection() as conn:
        front = await repository.find_expired(conn, since=None, most=repository.FRONT)
        if front.next_since is None:
            watch.since = None
            return front.expired, None
        part = await repository.find_expired(conn, since=watch.since or front.next_since, most=PART)
    expired = list(dict.fromkeys([*front.expired, *part.expired]))
    if len(expired) <= BATCH:
        watch.since = part.next_since
    return expired, max(_MIN_REST_SECONDS, _REST_FACTOR * (time.monotonic() - began))


async def _take_back(conn: Connection, *, expired: list[UUID]) -> list[RunSummary]:
    reaped = await repository.reap_leases(conn, run_ids=expired, most_crashes=MAX_CRASHES, message=_CRASHED)
    failed = [run for run in reaped if run.state is RunState.FAILED]
    if failed:
        await write_logs(conn, [_line(run) for run in failed])
    return reaped


def _line(run: RunSummary) -> LogLine:
    of = Subject(run.environment, run.workflow, run.id, run.chain_id, depth=run.depth)
    message = f"Workflow error: {run.workflow} failed: {_CRASHED}"
    return error_line(of, message, {"kind": "crashed", "attempt": run.attempt})
