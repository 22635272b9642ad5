"""Runs of dead executors are taken back. The only sign of death is a lease that expired by the database's clock.

A run that was only slow finds its attempt outnumbered when it next writes, and stops. A run that outlives no executor
fails for good after the third, so that it cannot take the whole fleet down one by one. Three in a row: an attempt that
has done a step is not held against it, because more than one run dies with an executor, and executors lose the
database, too.
"""

from typing import Final

from penstock.db import Connection
from penstock.domain.runs import RunSummary
from penstock.domain.states import RunState
from penstock.logs import get_logger
from penstock.metrics import REAPED
from penstock.runtime import Counts
from penstock.store.logs import LogLine, Subject, error_line, write_logs
from penstock_scheduler.repository import runs as repository
from penstock_scheduler.room import Room

log = get_logger(__name__)
_COUNTERS: Final = {state: REAPED.labels(state.value) for state in (RunState.QUEUED, RunState.FAILED)}

MAX_CRASHES: Final = 3
BATCH: Final = 500
_CRASHED: Final = (
    f"its executor died {MAX_CRASHES} times in a row before another step of this run was done; look for what exhausts "
    "memory or blocks "
    "in its steps, then retry it from the failed step"
)


async def reap_leases(room: Room) -> Counts:
    """Queue and dispatch expired runs again, or fail them after the third crash; each once, with any number of
    schedulers.
    """
    reaped = await room.database.in_transaction(_take_back)
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
    return Counts({"reaped": len(reaped), "failed": len(failed)}, 0.0 if len(reaped) >= BATCH else None)


async def _take_back(conn: Connection) -> list[RunSummary]:
    reaped = await repository.reap_leases(conn, most_crashes=MAX_CRASHES, message=_CRASHED, most=BATCH)
    failed = [run for run in reaped if run.state is RunState.FAILED]
    if failed:
        await write_logs(conn, [_line(run) for run in failed])
    return reaped


def _line(run: RunSummary) -> LogLine:
    of = Subject(run.environment, run.workflow, run.id, run.chain_id, depth=run.depth)
    message = f"Workflow error: {run.workflow} failed: {_CRASHED}"
    return error_line(of, message, {"kind": "crashed", "attempt": run.attempt})
