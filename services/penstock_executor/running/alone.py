"""One run in a task of its own: load, perform steps, decide, record. Steps of any kind may be in it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from penstock import clock
from penstock.contracts.topology import BULK_LANE
from penstock.db import give_way
from penstock.domain.states import RunState
from penstock.errors import LeaseLost, Permanent, Transient
from penstock.logs import get_logger, log_about
from penstock.metrics import START_LATENESS_SECONDS
from penstock.redaction import describe
from penstock.tracing import active
from penstock_executor.holding.leases import Lease, outlast
from penstock_executor.performing.attempt import Attempt
from penstock_executor.performing.children import may_continue
from penstock_executor.performing.outcome import Ended, announce, conclude, note_lost, write, write_plainly
from penstock_executor.python.code import AppCode
from penstock_executor.room import Room
from penstock_executor.runs import ClaimedRun, Ending

if TYPE_CHECKING:  # it needs OpenTelemetry's SDK, which is an extra
    from penstock.tracing.spans import ActiveSpan

log = get_logger(__name__)

MAX_UNWRITTEN: Final = 1000
"""Finished runs that may wait to be written. Beyond that, runs keep their slots, so that a slow commit slows the
claims.
"""


async def perform_alone(room: Room, lease: Lease) -> None:
    """One attempt of a run that was claimed, from its start to its end. Never raises."""
    began = asyncio.get_running_loop().time()
    log_about(lease.run.log_fields)
    span = _begin_span(lease.run)
    announce_starts(room, [lease.run])
    await finish_alone(room, lease, partial(_perform_and_record, room, lease), began, span)


async def finish_alone(
    room: Room,
    lease: Lease,
    work: Callable[[], Awaitable[Ending | None]],
    began: float,
    span: "ActiveSpan | None" = None,
) -> None:
    """Announce the ending that `work` returns, which is written, and give back what the run has held. `work` returns
    None when the run is no longer ours. Never raises.
    """
    ending: Ending | None = None
    if lease.lane == BULK_LANE:
        give_way()
    try:
        try:
            ending = await work()
        except LeaseLost as error:
            note_lost(lease.run, str(error))
        except Exception as error:  # also from describing, logging or writing an error: the attempt leaves a trace
            ending = await write_plainly(room, lease, error)
        if ending is not None:
            announce(room, [Ended(lease, ending, asyncio.get_running_loop().time() - began)])
    except Exception as error:
        # Not the run's fault, as far as we know: its lease expires, a scheduler takes it back, and gives up after the
        # third time.
        log.error("run.crashed", run_id=str(lease.run.id), workflow=lease.run.workflow, exc_info=error)
    finally:  # after the last line of the log, which names the span
        if span is not None:
            _end_span(span, lease.run, ending, asyncio.get_running_loop().time() - began)
        room.leases.end(lease)
        room.give_back_slots([lease])


def _begin_span(run: ClaimedRun) -> "ActiveSpan | None":
    spans = active()
    if spans is None:
        return None
    fields: dict[str, str | int] = {
        "penstock.run_id": str(run.id),
        "penstock.chain_id": str(run.chain_id),
        "penstock.workflow": run.workflow,
        "penstock.environment": run.environment,
        "penstock.depth": run.depth,
        "penstock.attempt": run.attempt,
    }
    return spans.begin_run(run.identity, run.workflow, fields, run.scheduled_at, run.claimed_at)


def _end_span(span: "ActiveSpan", run: ClaimedRun, ending: Ending | None, seconds: float) -> None:
    """On the database's clock, as it began. Without an ending the run is no longer ours."""
    state = "lost" if ending is None else ending.state.value
    span.note({"penstock.state": state})
    if ending is None or ending.is_failure:
        error = None if ending is None else ending.error
        span.fail(str(error["kind"]) if isinstance(error, dict) else state)
    span.end(run.claimed_at + timedelta(seconds=seconds))


async def _perform_and_record(room: Room, lease: Lease) -> Ending | None:
    attempt = await _load(room, lease)
    return await record(attempt, perform(attempt))


async def _load(room: Room, lease: Lease) -> Attempt:
    """The run with the definition it starts, or has started, with.

    Raises Permanent when that version has no such workflow, Transient when it cannot be read here (another executor may
    be newer), LeaseLost when the database stays away for longer than the lease holds.
    """
    run = lease.run
    try:
        plans = await outlast(lease, lambda: room.library.find_plans(run.environment, run.version))
        attempt = Attempt(room, lease, plans)
    except LeaseLost:
        raise
    except KeyError:
        raise Permanent(
            f"deployment {run.version} of {run.environment} has no workflow {run.workflow!r}: it was removed "
            "before the run began",
            kind="unknown_workflow",
        ) from None
    except Exception as error:
        raise Transient(
            f"this executor cannot read deployment {run.version} of {run.environment}: "
            f"{type(error).__name__}: {describe(error)}",
            kind="internal",
        ) from error
    if plans.app.python:
        attempt.code = AppCode(attempt)
    return attempt


async def perform(attempt: Attempt) -> Ending | None:
    """Perform steps and decide how the attempt ends; None when the run is no longer ours."""
    try:
        return await attempt.perform()
    except Exception as error:
        return conclude(attempt, error)


async def record(attempt: Attempt, performing: Awaitable[Ending | None]) -> Ending | None:
    """Wait for the end of `perform`, and write it; None when the run is no longer ours."""
    ending = await performing
    if ending is None:
        return None
    room, lease, journal = attempt.room, attempt.lease, attempt.journal
    if ending.state.is_final and journal.has_children and may_continue(room, lease):
        journal.lane = lease.lane
    else:
        give_back_early(room, [lease])
    sent_at = asyncio.get_running_loop().time()
    written = await write(attempt, ending)
    if journal.claimed is not None:
        _continue_with(room, lease, journal.claimed, sent_at)
    return written


def _continue_with(room: Room, parent: Lease, run: ClaimedRun, claimed_at: float) -> None:
    """Perform the child that a run has kept its slot for, and that was claimed with its ending."""
    lease = room.leases.begin(run, None, claimed_at)
    lease.lane, parent.holds_slot = parent.lane, False
    lease.task = room.spawn(perform_alone(room, lease))


def give_back_early(room: Room, leases: Sequence[Lease]) -> None:
    """What is left is to write the endings down: meanwhile other runs may be claimed and performed."""
    unwritten = room.leases.count - room.slots.taken
    room.give_back_slots(leases[: max(0, MAX_UNWRITTEN - unwritten)])


def announce_starts(room: Room, runs: Sequence[ClaimedRun]) -> None:
    """Publish that the runs have started, and note how late."""
    now = clock.now()
    for environment, started in groupby(runs, key=attrgetter("environment")):
        events = [run.happening(RunState.RUNNING, now) for run in started]
        room.publisher.run_events(environment, "started", events)
    for run in runs:
        if run.attempt == 1:
            START_LATENESS_SECONDS.observe(max(0.0, (run.claimed_at - run.scheduled_at).total_seconds()))
