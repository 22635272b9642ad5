"""The order in which a batch is admitted: keys, chains, rows, then what has to be said of runs that were cut or warned
of.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from penstock.db import Connection, Record
from penstock.domain.runs import Admission, Admitted, ChainWarning, Duplicate, Rejected, RunSummary, Terminated
from penstock.domain.states import RunState, Termination
from penstock.errors import StaleDefinitions
from penstock.runs.admission.chains import enter_chains, leave_chains, warn_chains
from penstock.runs.admission.rows import insert_runs
from penstock.runs.deliveries import NewDelivery
from penstock.runs.gates import SHUT, Gates, open_gates
from penstock.runs.idempotency import bind_keys, unbind_keys
from penstock.runs.places import Limited, enter_places, note_starts, replace_quiet
from penstock.runs.requests import CheckedRun
from penstock.runs.terminations import record_observations, record_terminations

UNKNOWN_PARENT: Final = "unknown_parent"


async def admit(conn: Connection, runs: Sequence[CheckedRun]) -> list[Admission]:
    """Create the runs that are asked for; what became of each, in order.

    Raises StaleDefinitions, having written nothing that survives the rollback, when a request was checked against
    another deployment than the current one.
    """
    admissions, _ = await admit_deliveries(conn, runs, ())
    return [admissions[position] for position in range(len(runs))]


async def admit_deliveries(
    conn: Connection, runs: Sequence[CheckedRun], deliveries: Sequence[NewDelivery]
) -> tuple[dict[int, Admission], set[UUID]]:
    """Store `deliveries`, and create the runs of those whose key is new, and all runs that belong to none.

    Returns what became of each run, by its position, and the ids of the deliveries that were new; the runs of other
    deliveries are left out. Waits for those who store the same keys, so give deliveries in one order. When all runs
    stand alone, this is one statement, which needs no transaction around it. Raises StaleDefinitions as `admit` does,
    for deliveries too.
    """
    runs = await _settle_times(conn, runs)
    outcomes = await _find_repeated(conn, runs)
    fresh = [position for position in range(len(runs)) if position not in outcomes]
    delivered: set[UUID] = set()
    if fresh or deliveries:
        # Sorted, so that two batches that share a run id wait for each other in one order; numbers compare fastest.
        fresh.sort(key=lambda position: runs[position].request.run_id.int)
        batch = [runs[position] for position in fresh]
        limited = _list_limited(runs, fresh)
        admitted, delivered = await _admit_distinct(conn, batch, deliveries, limited)
        outcomes.update((fresh[index], outcome) for index, outcome in admitted.items())
        rejected = {runs[p].run_id: outcomes[p] for p in fresh if isinstance(outcomes.get(p), Rejected)}
        if rejected:
            await unbind_keys(conn, [run.request for run in batch if run.run_id in rejected])
            outcomes = {p: _follow(outcome, rejected) for p, outcome in outcomes.items()}
    return outcomes, delivered


def _list_limited(runs: Sequence[CheckedRun], positions: Iterable[int]) -> dict[UUID, Limited]:
    """Those of the runs at these positions that something limits, in the order in which they were asked for."""
    limited: dict[UUID, Limited] = {}
    for position in sorted(positions):
        request, control = runs[position].request, runs[position].control
        if control is not None:
            at = request.scheduled_at
            assert not isinstance(at, timedelta), "times have been settled"
            limited[request.run_id] = Limited(
                request.run_id, request.environment, request.workflow, runs[position].priority, control, at
            )
    return limited


async def _control(conn: Connection, runs: Mapping[UUID, Limited], gates: Gates, new: Mapping[UUID, RunState]) -> None:
    """Have the flow control of their workflows begin with those of the runs that are new."""
    entered = [run for run in runs.values() if run.run_id in new]
    await replace_quiet(conn, [run for run in entered if new[run.run_id] is not RunState.TERMINATED])
    queued = {run_id for run_id in gates.open_to if new.get(run_id) is RunState.QUEUED}
    await enter_places(conn, entered, full=gates.list_full(gates.open_to - queued, runs))
    await note_starts(conn, [run for run in entered if run.run_id in queued])


async def _settle_times(conn: Connection, runs: Sequence[CheckedRun]) -> Sequence[CheckedRun]:
    """The runs with times instead of delays, which begin now: the clocks of processes that ask may differ, the
    database's decides.
    """
    if not any(isinstance(run.request.scheduled_at, timedelta) for run in runs):
        return runs
    now: datetime = await conn.fetchval("SELECT clock_timestamp()")
    return [
        run._replace(request=run.request._replace(scheduled_at=now + run.request.scheduled_at))
        if isinstance(run.request.scheduled_at, timedelta)
        else run
        for run in runs
    ]


async def _find_repeated(conn: Connection, runs: Sequence[CheckedRun]) -> dict[int, Admission]:
    """The requests, by position, whose key was used before or whose run id occurs earlier in the batch."""
    keyed = [(i, run.request.environment, run.request.key, run.run_id) for i, run in enumerate(runs) if run.request.key]
    repeated = await bind_keys(conn, keyed) if keyed else {}
    if len({run.request.run_id for run in runs}) == len(runs):
        return repeated
    first_of_id: dict[UUID, int] = {}
    for position, run in enumerate(runs):
        if position not in repeated and first_of_id.setdefault(run.run_id, position) != position:
            repeated[position] = Duplicate(run.run_id)
    return repeated


def _follow(outcome: Admission, rejected: Mapping[UUID, Admission]) -> Admission:
    """A duplicate of a request in the same batch that was rejected is rejected too: there is no such run."""
    return rejected.get(outcome.of, outcome) if isinstance(outcome, Duplicate) else outcome


async def _admit_distinct(
    conn: Connection, runs: Sequence[CheckedRun], deliveries: Sequence[NewDelivery], limited: Mapping[UUID, Limited]
) -> tuple[dict[int, Admission], set[UUID]]:
    entered = await enter_chains(conn, runs)
    gates = await open_gates(conn, list(limited.values())) if limited else SHUT
    found = await insert_runs(conn, runs, deliveries, entered, gates.open_to)
    if not found[0]["holds"]:
        raise StaleDefinitions("a request was checked against a deployment that is not current any more")
    rows = [row for row in found if row["position"] is not None]
    if entered is not None:
        kept_out = [row for row in rows if row["termination"] or not row["is_inserted"]]
        await leave_chains(conn, [row["chain_id"] for row in kept_out if row["id"] in entered.counted])
    cut = [row for row in rows if (row["termination"] or row["observed"]) and row["is_inserted"]]
    terminated = {row["id"]: Termination(row["termination"]) for row in cut if row["termination"]}
    paths = await record_terminations(conn, terminated) if terminated else {}
    # Observed is the first of its path that would have been terminated, where that is only observed.
    observed = {row["id"]: Termination(row["observed"]) for row in cut if not row["termination"]}
    if observed:
        await record_observations(conn, observed)
    warned = await warn_chains(conn, rows)
    if limited:
        await _control(conn, limited, gates, {row["id"]: RunState(row["state"]) for row in rows if row["is_inserted"]})
    admitted = {row["position"] - 1: _outcome(runs[row["position"] - 1], row, paths, warned) for row in rows}
    return admitted, set(found[0]["delivered"] or ())


def _outcome(
    of: CheckedRun, row: Record, paths: Mapping[UUID, tuple[str, ...]], warned: Mapping[UUID, list[ChainWarning]]
) -> Admission:
    request = of.request
    if row["problem"]:
        return Rejected(UNKNOWN_PARENT, row["problem"])
    if not row["is_inserted"]:
        return Duplicate(request.run_id)
    run = RunSummary(
        id=request.run_id,
        chain_id=row["chain_id"],
        parent_run_id=request.lineage.parent_run_id,
        environment=request.environment,
        workflow=request.workflow,
        state=RunState(row["state"]),
        depth=row["depth"],
        scheduled_at=row["scheduled_at"],
        priority=of.priority,
        is_bulk=row["is_bulk"],
    )
    if row["termination"]:
        return Terminated(
            run, Termination(row["termination"]), row["effective_limit"], paths.get(run.id, (run.workflow,))
        )
    return Admitted(
        run,
        row["effective_limit"],
        warnings=tuple(warned.get(run.id, ())),
        observed=Termination(row["observed"]) if row["observed"] else None,
    )
