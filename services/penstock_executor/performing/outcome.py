"""How an attempt ends: the outcome of the run is decided, written, and announced."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby
from random import random
from typing import Final, NamedTuple, assert_never

from pydantic import JsonValue

from penstock import clock
from penstock.contracts.messages import RunAnswer, WakeScheduler
from penstock.definitions.models import RetryPolicy
from penstock.definitions.values import format_date
from penstock.domain.states import RunState
from penstock.errors import BrokerUnavailable, DatabaseUnavailable, LeaseLost
from penstock.logs import get_logger, log_about, writes_debug
from penstock.metrics import LEASES_LOST, RUN_SECONDS, finished_runs
from penstock.runs.waits_and_signals import Wait
from penstock.store.logs import LogEvent, LogLine
from penstock_executor.holding.leases import Lease
from penstock_executor.performing.attempt import Attempt
from penstock_executor.performing.journal import Journal
from penstock_executor.room import Room
from penstock_executor.rules.failures import DeadLetter, Discard, Failure, Release, Retry, decide, describe_failure
from penstock_executor.runs import ClaimedRun, Commit, Ending, StepRecord

log = get_logger(__name__)
_SOON: Final = timedelta(seconds=3)
_WRITES: Final = 3
_PLAIN_RETRIES: Final = RetryPolicy(attempts=4, backoff_seconds=5, factor=3)
"""Of runs whose definition cannot be read, so that nobody knows their own."""


def conclude(attempt: Attempt, error: Exception) -> Ending | None:
    """The ending of an attempt that raised `error`; None when the run is no longer ours. Records the failed step."""
    run, position = attempt.run, attempt.journal.position
    failure = attempt.describe(error, *(position[:2] if position else ()))
    match decide(attempt.plan.definition.retries, run.failures, error, attempt.timing.now(), random()):
        case Discard(reason):
            note_lost(run, reason)
            return None
        case Release(reason):
            log.warning("run.released", run_id=str(run.id), workflow=run.workflow, attempt=run.attempt, reason=reason)
            return Ending(RunState.QUEUED)
        case Retry(at):
            ending = Ending(RunState.SCHEDULED, error=failure.to_json(), due_at=at, is_failure=True)
        case DeadLetter():
            ending = _fail(failure)
        case never:
            assert_never(never)
    if position is not None:
        record = StepRecord(position.path, position.action, "failed", attempt.timing.now(), error=failure.to_json())
        performed = attempt.journal.performed
        if performed is not None and performed.step == position.path:
            record.started_at, record.tries = performed.started_at, performed.tries
        attempt.journal.record(record)
    if failure.kind == "internal":
        # The traceback once: the run is tried again by its policy, perhaps many times.
        trace = None if run.failures else error
        log.error("run.internal_error", run_id=str(run.id), workflow=run.workflow, step=failure.step, exc_info=trace)
    return ending


async def write(attempt: Attempt, ending: Ending, sent: Commit | None = None) -> Ending | None:
    """Commit the ending with all that waits; the ending that was written, or None when the run is no longer ours.

    `sent` is its commit when that was tried before and nobody knows the outcome. When the database refuses the data,
    the run ends with that error instead.
    """
    attempt.lease.is_ending = True
    for _ in range(_WRITES):
        commit, sent = sent or attempt.journal.draw_up(ending), None
        try:
            result = await attempt.journal.send(commit)
        except Exception as error:
            concluded = conclude(attempt, error)
            if concluded is None:
                return None
            ending = concluded
        else:
            return as_written(ending, result)
    raise AssertionError("an ending without data was refused")


def as_written(ending: Ending, result: JsonValue) -> Ending:
    """The ending as the database has it: a run whose signal was there before it waited for it is `queued` already."""
    return ending if ending.wait is None or not result else replace(ending, state=RunState.QUEUED)


async def write_again(attempt: Attempt, commit: Commit, error: BaseException) -> Ending | None:
    """The same as `write`, of an ending that was written with those of other runs and failed with `error`."""
    assert commit.ending is not None
    match error:
        case DatabaseUnavailable():
            commit.is_repeat = True
            return await write(attempt, commit.ending, commit)
        case LeaseLost():
            note_lost(attempt.run, str(error))
            return None
        case Exception():
            attempt.journal.take_back(commit)
            concluded = conclude(attempt, error)
            return None if concluded is None else await write(attempt, concluded)
        case _:
            raise error


async def write_plainly(room: Room, lease: Lease, error: Exception) -> Ending | None:
    """End an attempt that cannot end in the usual way: write only the error, with a few tries.

    None when the run is no longer ours.
    """
    run, failure = lease.run, describe_failure(error)
    match decide(_PLAIN_RETRIES, run.failures, error, run.claimed_at, random()):
        case Retry(at):
            ending = Ending(RunState.SCHEDULED, error=failure.to_json(), due_at=at, is_failure=True)
        case _:
            ending = _fail(failure)
    lease.is_ending = True
    try:
        await Journal(room, lease).commit(ending)
    except LeaseLost:
        return None
    return ending


def note_lost(run: ClaimedRun, reason: str) -> None:
    """The run belongs to another attempt by now, or to none: nothing of it is written here."""
    LEASES_LOST.inc()
    log.warning("run.lease_lost", run_id=str(run.id), workflow=run.workflow, attempt=run.attempt, reason=reason)


class Ended(NamedTuple):
    """An attempt whose ending is written, and how many seconds it took."""

    lease: Lease
    ending: Ending
    seconds: float


def announce(room: Room, ended: Sequence[Ended]) -> None:
    """After the commit: count, publish the events, answer everyone who waits, and write the log. Best effort."""
    for (environment, workflow, state), alike in groupby(ended, key=_kind):
        _announce_alike(room, environment, workflow, state, list(alike))


def _kind(one: Ended) -> tuple[str, str, RunState]:
    run = one.lease.run
    return run.environment, run.workflow, one.ending.state


def _announce_alike(room: Room, environment: str, workflow: str, state: RunState, ended: Sequence[Ended]) -> None:
    """Attempts of one workflow that brought their runs into the same state: what they share is found once for all."""
    finished_runs(environment, workflow, state.value).inc(len(ended))
    for one in ended:
        RUN_SECONDS.observe(one.seconds)
        if one.lease.run.is_limited:
            room.free_turns(environment)
    if state.is_final:
        now = clock.now()
        events = [one.lease.run.happening(state, now, _reason(one.ending)) for one in ended]
        room.publisher.run_events(environment, state.value, events)
        for one in ended:
            _answer(room, one.lease, one.ending)
    else:
        for one in ended:
            _announce_pause(room, one.lease.run, one.ending, one.seconds)
    room.logbook.write(*(_line(one.lease.run, one.ending, one.seconds) for one in ended))
    # A line costs more than a step, and every run has its line in the app's log: here, only what an operator may have
    # to act on.
    if state is not RunState.SUCCEEDED or writes_debug(log):
        for one in ended:
            _log(*one)


def _answer(room: Room, lease: Lease, ending: Ending) -> None:
    if lease.run.is_awaited:
        room.wake_scheduler(lease.run.environment)
    if lease.reply_to is not None:
        answer = RunAnswer.model_construct(
            run_id=lease.run.id, state=ending.state, result=ending.result, error=ending.error
        )
        room.publisher.answer(lease.reply_to, answer)


def _announce_pause(room: Room, run: ClaimedRun, ending: Ending, seconds: float) -> None:
    """The run is to be performed further: later, or once its wait is over."""
    if ending.state is RunState.SCHEDULED:
        room.nudge(run.environment, WakeScheduler.model_construct(due_at=ending.due_at))
    elif ending.wait is not None:
        _announce_wait(room, run, ending, seconds)


def _log(lease: Lease, ending: Ending, seconds: float) -> None:
    run = lease.run
    log_about(run.log_fields)
    write = log.debug if ending.state is RunState.SUCCEEDED else log.info
    write(
        "run.finished", run_id=run.id, chain_id=run.chain_id, workflow=run.workflow, environment=run.environment,
        depth=run.depth, attempt=run.attempt, state=ending.state, seconds=seconds, reason=_reason(ending),
    )  # fmt: skip


def _announce_wait(room: Room, run: ClaimedRun, ending: Ending, seconds: float) -> None:
    """A scheduler sleeps for a second at most, so it has to be woken for short waits only."""
    until = None if ending.wait is None else ending.wait.until
    if ending.state is RunState.QUEUED:
        _ = room.spawn(_dispatch(room, run))
    elif ending.wait is not None and ending.wait.awaited:
        room.wake_scheduler(run.environment)
    elif until is not None and until - run.claimed_at - timedelta(seconds=seconds) < _SOON:
        room.nudge(run.environment, WakeScheduler.model_construct(due_at=until))


async def _dispatch(room: Room, run: ClaimedRun) -> None:
    with suppress(BrokerUnavailable):  # a scheduler finds it, later
        await room.publisher.dispatch([run.summarize(RunState.QUEUED)])


def _fail(failure: Failure) -> Ending:
    return Ending(RunState.FAILED, error=failure.to_json(), is_failure=True)


def _reason(ending: Ending) -> str | None:
    if isinstance(ending.error, dict):
        return str(ending.error.get("message"))
    return "the workflow's condition was not met" if ending.state is RunState.SKIPPED else None


def _line(run: ClaimedRun, ending: Ending, seconds: float) -> LogLine:
    at = run.claimed_at + timedelta(seconds=seconds)
    if ending.wait is not None:
        return run.line("info", LogEvent.WAITING, _describe_wait(ending.wait), at, step=ending.wait.step)
    match ending.state:
        case RunState.SUCCEEDED:
            return run.line("info", LogEvent.FINISHED, "", at)
        case RunState.SKIPPED:
            return run.line("info", LogEvent.CONDITION_NOT_PASSED, "", at)
        case RunState.QUEUED:
            return run.error_line("interrupted and given back to be performed again", at, level="warning")
        case _:
            return _error_line(run, ending, at)


def _describe_wait(wait: Wait) -> str:
    until = None if wait.until is None else f"until {format_date(wait.until)}"
    if wait.awaited:
        signal: str | None = f"for the ends of {len(wait.awaited)} runs or lists"
    else:
        signal = None if wait.signal is None else f"for the signal {wait.signal}"
    return ", ".join(part for part in (signal, until) if part)


def _error_line(run: ClaimedRun, ending: Ending, at: datetime) -> LogLine:
    error = ending.error if isinstance(ending.error, dict) else {}
    step, message = error.get("step"), str(error.get("message"))
    if ending.due_at is not None:
        message = f"{message} (tried again at {format_date(ending.due_at)})"
    level = "error" if ending.due_at is None else "warning"
    return run.error_line(message, at, level=level, step=str(step) if step else None, details=error)
