"""Tries of a step. When they lie far apart, the run waits between two of them, and holds no slot.

The wait is a record of its own beside the step's, under a path that counts the step's failed tries within this try of
the run: once the wait is over the record is finished, and by it the next attempt knows how often the step has failed.
So a step's tries are counted over attempts, crashes and deploys, and do not count as failures of the run.
"""

from collections.abc import Collection, Container, Mapping
from datetime import datetime, timedelta
from random import random
from typing import Final

from pydantic import JsonValue

from penstock.definitions.models import RetryPolicy
from penstock.definitions.values import format_date
from penstock.errors import Permanent, Transient
from penstock.runs.waits_and_signals import Wait
from penstock.store.logs import LogLine
from penstock_executor.performing.timing import Timing
from penstock_executor.rules.backoff import retry_delay
from penstock_executor.rules.failures import Failure
from penstock_executor.runs import ClaimedRun, StepRecord

MAX_PAUSE_SECONDS: Final = 5.0
"""A pause up to this long keeps the slot: giving it up and being claimed again costs a few statements."""

_ACTION: Final = "retry"
"""What the record of a wait has instead of a kind of step."""


class StepRetries:
    """The tries of one step of one run. `failures` are those that have failed, in this attempt and earlier ones.

    The tries of this attempt are noted in the step's record once one of them has failed.
    """

    __slots__ = ("_policy", "_record", "_run", "_started_at", "_tries", "failures")

    def __init__(self, policy: RetryPolicy, run: ClaimedRun, record: StepRecord, finished: Collection[str]) -> None:
        self._policy = policy
        self._run = run
        self._record = record
        self._started_at = record.started_at
        self._tries: list[JsonValue] = []
        self.failures = count_failures(finished, record.step, run.failures, policy.attempts - 1) if finished else 0

    def begin_again(self, timing: Timing) -> None:
        """The next try begins."""
        self._started_at = timing.now()

    def note_success(self, timing: Timing) -> None:
        """The try has succeeded, unless its effect is refused."""
        if self._tries:
            self._record.tries = [*self._tries, self._describe(timing)]

    def note_failure(self, timing: Timing, error: Permanent | Transient, failure: Failure) -> None:
        """The try has failed."""
        described = self._describe(timing)
        if isinstance(error, Transient) and error.status is not None:
            described["status"] = error.status
        self._tries.append(described | {"error": failure.to_json()})
        self._record.tries = self._tries

    def next_delay(self, error: Transient) -> float | None:
        """Seconds until the next try, after one that failed; None when there is none."""
        self.failures += 1
        if self.failures >= self._policy.attempts:
            return None
        return retry_delay(self._policy, self.failures - 1, error, random())

    def put_off(self, failure: Failure, now: datetime, delay: float) -> tuple[Wait, StepRecord, LogLine]:
        """Have the run wait until the step is to be tried again: the wait, its record, and a line of the log."""
        step = self._record.step
        path = pause_path(step, self._run.failures, self.failures)
        until, error = now + timedelta(seconds=delay), failure.to_json()
        message = f"{failure.message} (tried again at {format_date(until)})"
        line = self._run.error_line(message, now, level="warning", step=step, details=error)
        paused = StepRecord(path, _ACTION, "waiting", self._record.started_at, error=error, tries=self._tries)
        return Wait(path, until), paused, line

    def find_pause(self, finished: Mapping[str, JsonValue], now: datetime) -> tuple[Wait, StepRecord] | None:
        """What the step has still to wait for, when the run was woken for something beside it."""
        path = pause_path(self._record.step, self._run.failures, self.failures + 1)
        noted = finished.get(waiting_path(path)) if finished else None
        if noted is None:
            return None
        until = datetime.fromisoformat(str(noted))
        if until <= now:
            self.failures += 1
            return None
        return Wait(path, until), StepRecord(path, _ACTION, "waiting", self._record.started_at)

    def _describe(self, timing: Timing) -> dict[str, JsonValue]:
        started_at, now = self._started_at, timing.now()
        return {"attempt": self._run.attempt, "started_at": started_at.isoformat(), "finished_at": now.isoformat()}


def pause_path(path: str, run_failures: int, failures: int) -> str:
    """The path of the wait after failure number `failures` of the step at `path`; the run has failed `run_failures`
    times.
    """
    return f"{path}~{run_failures + 1}.{failures}"


def waiting_path(path: str) -> str:
    """The path of the record that says until when what stands at `path` waits, while the run waits for something
    else.
    """
    return f"{path}~until"


def count_failures(finished: Container[str], path: str, run_failures: int, most: int) -> int:
    """How many tries of the step had failed when the run last waited for the next one; at most `most`."""
    return next(
        (failures for failures in range(most, 0, -1) if pause_path(path, run_failures, failures) in finished), 0
    )
