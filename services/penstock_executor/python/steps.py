"""What code asks of the run that it is called for: its steps, performed and recalled by the machinery that all steps go
through.
"""

from collections.abc import Collection
from datetime import datetime

from pydantic import JsonValue

from penstock.definitions.connectors import connector_arguments
from penstock.definitions.models import StepAction
from penstock.domain.workload import POSITIONS, Activity
from penstock.errors import LeaseLost, Permanent
from penstock.expressions import compile_template
from penstock.sdk.engine import Asked
from penstock.store.logs import LogLine
from penstock_executor.holding.threads import Threads
from penstock_executor.performing.attempt import Frame, Performance
from penstock_executor.python.step_calls import plan_asked
from penstock_executor.runs import StepRecord
from penstock_executor.steps.specs import StepPlan

_ACTION = POSITIONS[Activity.ACTION]


class CodeSteps(Performance):
    """One attempt of one run, as an engine sees it. Whatever it does is durable when it returns: code may take its time
    then.
    """

    @property
    def threads(self) -> Threads:
        """Where sync functions are called."""
        return self._room.threads

    def plan_step(self, asked: Asked, id: str, place: str) -> StepPlan:
        """A step that code asks for, ready to be performed. Raises Permanent for a connector that there is not."""
        connector = None
        if asked.action is StepAction.CALL:
            known = self._plans.app.connectors.get(str(asked.target))
            if known is None:
                raise Permanent(f"there is no connector {asked.target!r} in app.yaml", kind="arguments")
            connector = compile_template(connector_arguments(known), known.place)
        return plan_asked(asked, id, place, connector)

    def is_finished(self, path: str) -> bool:
        """Whether the step was finished before, in this attempt or an earlier one."""
        return path in self._finished

    def recall(self, path: str) -> JsonValue:
        """The result of a finished step."""
        return self._finished[path]

    async def perform_step(self, step: StepPlan, frame: Frame) -> bool:
        """Perform a step that is not finished; whether the workflow goes on."""
        goes_on = await self._perform_step(step, frame)
        # What a log or a state said is written with what comes next: if it is lost, it is said again.
        if self.journal.must_commit and step.definition.action is not StepAction.LOG:
            await self.journal.commit()
        self.journal.position = None
        return goes_on

    async def begin_code(self) -> datetime:
        """The time at which a function may be called. Raises LeaseLost, and TookTooLong when there is no time left."""
        if self.journal.must_commit:
            await self.journal.commit()
        now = self._loop.time()
        if now >= self._lease.expires_at:
            raise LeaseLost("the lease ran out before the step")
        if now > self._deadline:
            raise self._took_too_long()
        self.journal.used[_ACTION] += 1
        return self.now()

    async def record_code(self, record: StepRecord, secrets: frozenset[str]) -> JsonValue:
        """Remember what a function returned; the result without secrets."""
        if secrets:
            record.result = self._room.secrets.redactor(self.run.environment, secrets).value(record.result)
        self._finished[record.step] = record.result
        self.journal.record(record, must_commit=True)
        await self.journal.commit()
        return record.result

    def pass_over_code(self, record: StepRecord) -> None:
        """Remember a step that has failed, and that the code went on after; written with what comes next."""
        self._finished[record.step] = record.result
        self.journal.record(record)

    def require_secret(self, name: str) -> JsonValue:
        """Raises Permanent when it is not set."""
        return self._room.secrets.require(self.run.environment, [name])[name]

    def list_secrets(self) -> Collection[str]:
        """The names of the secrets there are."""
        return self._room.secrets.values(self.run.environment).keys()

    def redact_text(self, text: str) -> str:
        """A text without any secret."""
        return self._room.secrets.redactor(self.run.environment).text(text)

    def write_line(self, line: LogLine) -> None:
        """A line of the run's log."""
        self._room.logbook.write(line)
