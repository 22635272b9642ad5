"""The protocol between code and its attempt: steps that are performed and recalled like all others."""

from datetime import datetime
from typing import Final, Protocol

from pydantic import JsonValue

from penstock.domain.workload import POSITIONS, Activity
from penstock.sdk.engine import StepCall
from penstock.store.logs import LogEvent, LogLine
from penstock_executor.performing.attempt import Attempt
from penstock_executor.performing.frame import Frame
from penstock_executor.python.paths import NamedStep
from penstock_executor.python.plans import plan_step
from penstock_executor.python.secrets import UsedSecrets
from penstock_executor.rules.failures import Failure
from penstock_executor.runs import StepRecord
from penstock_executor.steps.specs import Becomes

_ACTION: Final = POSITIONS[Activity.ACTION]


class Steps(Protocol):
    """What an engine asks. Whatever it does is durable when it returns, because code may take its time then."""

    def now(self) -> datetime:
        """The database's time."""

    def is_finished(self, path: str) -> bool:
        """Whether the step was finished before, in this attempt or an earlier one."""

    def recall(self, path: str) -> JsonValue:
        """The result of a finished step."""

    async def perform(self, step: NamedStep, call: StepCall, frame: Frame) -> tuple[bool, JsonValue]:
        """Perform a step that is not finished: whether the workflow continues, and the result."""

    async def begin(self) -> datetime:
        """The time at which a function may be called. Raises LeaseLost, and TookTooLong when the time is used up."""

    async def record(self, record: StepRecord) -> JsonValue:
        """Remember what a function returned; the result without secrets."""

    def pass_over(self, record: StepRecord) -> None:
        """Remember a step that failed, and after which the code continued; written with what comes next."""

    def describe(self, error: Exception, step: str, place: str) -> Failure:
        """An error as it is stored and shown."""

    def make_line(self, level: str, message: str) -> LogLine:
        """A line of the run's log, without secrets. May be called in any thread."""

    def write_line(self, line: LogLine) -> None:
        """Have it written soon."""

    async def find_link(self, path: str) -> str:
        """The link that answers what the step waits for."""


class AttemptSteps:
    """The steps of one attempt, for one call of a function."""

    def __init__(self, attempt: Attempt, secrets: UsedSecrets) -> None:
        self._attempt = attempt
        self._secrets = secrets

    def now(self) -> datetime:
        """See `Steps`, as for all that follows."""
        return self._attempt.timing.now()

    def is_finished(self, path: str) -> bool:
        return path in self._attempt.finished

    def recall(self, path: str) -> JsonValue:
        return self._attempt.finished[path]

    async def perform(self, step: NamedStep, call: StepCall, frame: Frame) -> tuple[bool, JsonValue]:
        attempt = self._attempt
        plan = plan_step(attempt.plans.app, call, step.id, step.place)
        frame.prefix = step.scope.prefix
        frame.plan = frame.plan.with_secrets(self._secrets.used | plan.secrets[1])
        goes_on = await attempt.perform_step(plan, frame)
        # What a log or a state said is written with what comes next: if it is lost, it is said again.
        if attempt.journal.must_commit and plan.spec.becomes is not Becomes.LINE:
            await attempt.journal.commit()
        attempt.journal.position = None
        return goes_on, frame.results.get(plan.definition.id)

    async def begin(self) -> datetime:
        attempt = self._attempt
        if attempt.journal.must_commit:
            await attempt.journal.commit()
        started_at = attempt.timing.begin_step()
        attempt.journal.used[_ACTION] += 1
        return started_at

    async def record(self, record: StepRecord) -> JsonValue:
        attempt = self._attempt
        if self._secrets.used:
            record.result = attempt.redactor(self._secrets.used).value(record.result)
        attempt.finished[record.step] = record.result
        attempt.journal.record(record, must_commit=True)
        await attempt.journal.commit()
        return record.result

    def pass_over(self, record: StepRecord) -> None:
        self._attempt.finished[record.step] = record.result
        self._attempt.journal.record(record)

    def describe(self, error: Exception, step: str, place: str) -> Failure:
        return self._attempt.describe(error, step, place)

    def make_line(self, level: str, message: str) -> LogLine:
        text = self._attempt.redactor().text(message)
        return self._attempt.run.line(level, LogEvent.OUTPUT, text, self.now())

    def write_line(self, line: LogLine) -> None:
        self._attempt.room.logbook.write(line)

    async def find_link(self, path: str) -> str:
        """See `Steps`."""
        return await self._attempt.find_link(path)
