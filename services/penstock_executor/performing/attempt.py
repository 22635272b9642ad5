"""Performs the steps of one run, in order: evaluate, act, write at once or with what comes next.

A step that an earlier attempt has finished is not performed again; its result is restored. Times are the database's.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import random
from typing import Final, TypeVar

from pydantic import JsonValue

from penstock.contracts.messages import RunAnswer
from penstock.definitions.values import format_date
from penstock.domain.durations import format_duration
from penstock.domain.states import RunState
from penstock.errors import DatabaseUnavailable, LeaseLost, Permanent, Transient
from penstock.runs.waits import Wait
from penstock.store.logs import LogEvent
from penstock_executor.holding.leases import Lease
from penstock_executor.performing.journal import Journal, Position
from penstock_executor.performing.step_retries import ACTION as RETRY
from penstock_executor.performing.step_retries import LONGEST_PAUSE_SECONDS, count_failures, pause_path
from penstock_executor.planning.plans import Plans, WorkflowPlan
from penstock_executor.room import Room
from penstock_executor.rules import Failure, describe_failure, retry_delay
from penstock_executor.runs import Ending, StepRecord, Values
from penstock_executor.steps.outcomes import Coded, Done, Nested, Outcome, Suspend, Write
from penstock_executor.steps.specs import Becomes, Call, Scope, StepPlan

T = TypeVar("T")

MOST_NESTED: Final = 16
"""How deep `trigger` may nest."""
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 2.0


class TookTooLong(Transient):
    """The run has used up its time: no retry within the attempt, and no `on_error`, goes past that."""


class Suspended(BaseException):
    """The attempt ends here, and the run waits. No Exception: neither `on_error` nor code of an author's is to catch
    it.
    """

    def __init__(self, wait: Wait) -> None:
        super().__init__(wait)
        self.wait = wait


@dataclass(slots=True)
class Frame:
    """A workflow under way: the run's own, or one that a step triggers. `may_defer`: no step around it waits for its
    errors.
    """

    plan: WorkflowPlan
    scope: Scope
    results: Values
    state: Values
    prefix: str = ""
    nesting: int = 0
    may_defer: bool = True
    answer: Values | None = None


class Performance:
    """One attempt of one run."""

    def __init__(self, room: Room, lease: Lease, plans: Plans) -> None:
        self.run = lease.run
        self.plan = plans.workflow(lease.run.workflow)
        self.journal = Journal(room, lease)
        self._room = room
        self._lease = lease
        self._plans = plans
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._deadline = self._began + self.plan.definition.timeout_seconds
        self._finished: Values = lease.run.finished or {}

    def now(self) -> datetime:
        """The database's time."""
        return self.run.claimed_at + timedelta(seconds=self._loop.time() - self._began)

    async def perform(self) -> Ending:
        """Perform what is not finished yet; the ending, and what waits in the journal, have still to be committed.

        Raises whatever ends the attempt otherwise.
        """
        frame = self._open(self.plan, self.run.parameters)
        if self.plan.secrets and self.plan.when is not None:
            self._require(self.plan.when.secrets)
        if self.plan.when is not None and not self._finished and not self.plan.when.holds(frame.scope):
            return Ending(RunState.SKIPPED)
        try:
            await self._perform_steps(frame)
        except Suspended as suspended:
            self.journal.position = None
            return Ending(RunState.WAITING, wait=suspended.wait)
        self.journal.position = None
        return Ending(RunState.SUCCEEDED, frame.answer)

    def describe(self, error: Exception, step: str | None = None, place: str | None = None) -> Failure:
        """An error as what is stored and shown: without secrets, whoever put them into it."""
        failure = describe_failure(error, step, place)
        return replace(failure, message=self._room.secrets.redactor(self.run.environment).text(failure.message))

    async def _perform_steps(self, frame: Frame) -> None:
        for step in frame.plan.steps:
            if not await self._perform_step(step, frame):
                return

    async def _perform_step(self, step: StepPlan, frame: Frame) -> bool:
        """Whether the workflow goes on after this step."""
        definition = step.definition
        path = frame.prefix + definition.id
        if self._finished and path in self._finished:
            return _settle(step, frame, self._finished[path])
        may_defer = frame.may_defer and step.is_deferrable
        if self.journal.must_commit and (step.spec.commits_first or not may_defer):
            await self.journal.commit()
        self.journal.position = Position(path, definition.place, definition.action)
        record = StepRecord(path, definition.action, "succeeded", self._begin_step(step, frame))
        try:
            if frame.plan.secrets:
                self._require(step.secrets[0])
            if step.when is not None and not step.when.holds(frame.scope) and not self._is_under_way(path):
                return self._skip(record, step, frame)
            return await self._act_with_retries(step, record, frame, may_defer=may_defer)
        except (Permanent, Transient) as error:
            if definition.on_error == "fail" or isinstance(error, TookTooLong):
                raise
            return self._pass_over(error, record, step, frame)

    def _begin_step(self, step: StepPlan, frame: Frame) -> datetime:
        now = self._loop.time()
        if now >= self._lease.expires_at:  # this process stood still, perhaps: others may perform the run by now
            raise LeaseLost("the lease ran out before the step")
        if now > self._deadline:
            raise self._took_too_long()
        started_at = self.run.claimed_at + timedelta(seconds=now - self._began)
        if step.uses_now:
            frame.scope["now"] = format_date(started_at)
        return started_at

    async def _act_with_retries(self, step: StepPlan, record: StepRecord, frame: Frame, *, may_defer: bool) -> bool:
        definition = step.definition
        policy = definition.retry or step.spec.retries
        failures = 0
        if policy is not None and self._finished:
            failures = count_failures(self._finished, record.step, self.run.failures, policy.attempts - 1)
        if frame.plan.secrets:
            self._require(step.secrets[1])
        while True:
            try:
                outcome = await self._act(step, record, frame)
                return await self._apply(outcome, record, step, frame, may_defer=may_defer)
            except Transient as error:
                failures += 1
                if policy is None or failures >= policy.attempts or isinstance(error, TookTooLong):
                    raise
                delay = retry_delay(policy, failures - 1, error, random())
                if delay > LONGEST_PAUSE_SECONDS:
                    raise self._put_off(error, record, step, failures, delay) from None
                await self._within(None, asyncio.sleep(delay))

    def _put_off(self, error: Transient, record: StepRecord, step: StepPlan, failures: int, delay: float) -> Suspended:
        """The run waits until the step is to be tried again."""
        until = self.now() + timedelta(seconds=delay)
        failure = self.describe(error, record.step, step.definition.place)
        path = pause_path(record.step, self.run.failures, failures)
        self.journal.record(StepRecord(path, RETRY, "waiting", record.started_at, error=failure.to_json()))
        message = f"{failure.message} (tried again at {format_date(until)})"
        line = self.run.line(
            "warning", LogEvent.WORKFLOW_ERROR, message, self.now(), step=record.step, details=failure.to_json()
        )
        self._room.logbook.write(line)
        return Suspended(Wait(path, until))

    async def _act(self, step: StepPlan, record: StepRecord, frame: Frame) -> Outcome:
        for activity in step.spec.consumes.begun:
            self.journal.used[activity] += 1
        arguments = step.arguments.evaluate(frame.scope)
        call = Call(
            self.run,
            record.step,
            step,
            step.target.evaluate(frame.scope),
            arguments if isinstance(arguments, dict) else {},
            frame.scope,
            record.started_at,
            self._plans.app,
            self._room.tools,
            self._deadline,
        )
        immediate, awaited = step.spec.immediate, step.spec.awaited
        if immediate is not None:
            return immediate(call)
        assert awaited is not None
        return await self._wait_for(call, awaited)

    async def _wait_for(self, call: Call, awaited: Callable[[Call], Awaitable[Outcome]]) -> Outcome:
        """An action that waits for something: within the step's time and the run's, and through an absence of the
        database.
        """
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                if call.plan.spec.minds_its_time:
                    return await awaited(call)
                return await self._within(call.plan.definition.timeout_seconds, awaited(call))
            except DatabaseUnavailable as error:
                if self._loop.time() + pause >= self._lease.expires_at:
                    raise LeaseLost(f"the database was away for longer than the lease holds: {error}") from error
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _within(self, seconds: float | None, work: Awaitable[T]) -> T:
        """Wait for `work` as long as the step (`seconds`) and the run may take."""
        until = self._deadline if seconds is None else min(self._deadline, self._loop.time() + seconds)
        try:
            async with asyncio.timeout_at(until):
                return await work
        except TimeoutError:
            if self._loop.time() >= self._deadline:
                raise self._took_too_long() from None
            raise Transient(f"the step took longer than its timeout of {_show(seconds or 0)}", kind="timeout") from None

    async def _apply(
        self, outcome: Outcome, record: StepRecord, step: StepPlan, frame: Frame, *, may_defer: bool
    ) -> bool:
        """Have the step written, and let later steps see its result; whether the workflow goes on."""
        if isinstance(outcome, Write):
            await self._write(outcome, record, may_defer=may_defer)
        elif isinstance(outcome, Suspend):
            record.outcome = "waiting"
            self.journal.record(record)
            raise Suspended(Wait(record.step, outcome.until, outcome.signal, outcome.match))
        else:
            if isinstance(outcome, Nested):
                outcome = Done(await self._perform_nested(outcome, record.step, frame, may_defer=may_defer))
            assert not isinstance(outcome, Coded), "what an app with Python does is performed by CodedPerformance"
            record.result = self._redact(outcome.result, frame) if frame.plan.secrets else outcome.result
            self.journal.record(record, must_commit=outcome.must_commit)
        if step.spec.consumes.done is not None:
            step.spec.consumes.done(self.journal.used, outcome, record.result)
        self._remember(record, frame)
        if step.spec.becomes is Becomes.LINE:
            self._room.logbook.write(
                self.run.line("info", LogEvent.OUTPUT, str(record.result), self.now(), step=record.step)
            )
        goes_on = _settle(step, frame, record.result)
        if step.spec.becomes is Becomes.ANSWER and frame.plan.answers_early and not frame.nesting:
            await self._answer_early(frame)
        return goes_on

    async def _write(self, write: Write, record: StepRecord, *, may_defer: bool) -> None:
        record.result = write.result
        position = self.journal.position
        assert position is not None
        self.journal.defer(write, record, position)
        if not (may_defer and write.is_known):
            result = await self.journal.commit()
            if not write.is_known:
                record.result = result

    async def _perform_nested(self, nested: Nested, path: str, frame: Frame, *, may_defer: bool) -> JsonValue:
        """Perform a triggered workflow; its answer, or null."""
        if frame.nesting >= MOST_NESTED:
            raise Permanent(
                f"`trigger` is nested more than {MOST_NESTED} deep, at {nested.workflow}; schedule it instead",
                kind="nesting",
            )
        inner = self._open(self._plans.workflow(nested.workflow), nested.parameters)
        inner.prefix, inner.nesting, inner.may_defer = f"{path}/", frame.nesting + 1, may_defer
        if inner.plan.secrets and inner.plan.when is not None:
            self._require(inner.plan.when.secrets)
        if inner.plan.when is not None and not inner.plan.when.holds(inner.scope) and not self._is_under_way(path):
            line = self.run.line(
                "info", LogEvent.CONDITION_NOT_PASSED, f"{nested.workflow} was not performed", self.now(), step=path
            )
            self._room.logbook.write(line)
            return None
        await self._perform_steps(inner)
        return inner.answer

    def _is_under_way(self, path: str) -> bool:
        """Whether an earlier attempt has begun what this step triggers: then its conditions have been met, whatever
        they say by now.
        """
        return any(finished.startswith(f"{path}/") for finished in self._finished)

    async def _answer_early(self, frame: Frame) -> None:
        """Tell the caller now; what led to the answer is durable before."""
        await self.journal.commit(answer=frame.answer)
        if self._lease.reply_to is not None:
            answer = RunAnswer.model_construct(run_id=self.run.id, state=RunState.RUNNING, result=frame.answer)
            self._room.publisher.answer(self._lease.reply_to, answer)
            self._lease.reply_to = None

    def _skip(self, record: StepRecord, step: StepPlan, frame: Frame) -> bool:
        record.outcome = "skipped"
        self.journal.record(record)
        self._remember(record, frame)
        return _settle(step, frame, None)

    def _pass_over(self, error: Permanent | Transient, record: StepRecord, step: StepPlan, frame: Frame) -> bool:
        """The step failed and may: later steps see the error as its result."""
        failure = self.describe(error, record.step, step.definition.place)
        record.outcome, record.error = "failed", failure.to_json()
        record.result = {"error": {"kind": failure.kind, "message": failure.message}}
        self.journal.record(record)
        self._remember(record, frame)
        frame.results[step.definition.id] = record.result
        return True

    def _remember(self, record: StepRecord, frame: Frame) -> None:
        """So that a `trigger` that is retried does not perform again what is finished inside it."""
        if frame.nesting:
            self._finished[record.step] = record.result

    def _open(self, plan: WorkflowPlan, parameters: Values) -> Frame:
        """A frame with what expressions see: only what this workflow reads is put there."""
        context = self.run.context or {}
        results: Values = {}
        state: Values = {}
        scope: Scope = {"params": parameters, "steps": results, "state": state}
        for root in plan.roots - scope.keys():
            match root:
                case "run":
                    scope[root] = self.run.to_scope()
                case "secrets":
                    scope[root] = self._room.secrets.values(self.run.environment)
                case "now":
                    scope[root] = format_date(self.now())
                case _:
                    scope[root] = context.get(root)
        return Frame(plan, scope, results, state)

    def _require(self, secrets: frozenset[str]) -> None:
        """Raises Permanent when one of these is not set. Asked beforehand, because null would pass for a value: null ==
        null.
        """
        if secrets:
            self._room.secrets.require(self.run.environment, secrets)

    def _redact(self, result: JsonValue, frame: Frame) -> JsonValue:
        """A step's result without the secrets that its workflow reads: a server may send back what it was sent."""
        return self._room.secrets.redactor(self.run.environment, frame.plan.secrets).value(result)

    def _took_too_long(self) -> TookTooLong:
        limit = _show(self.plan.definition.timeout_seconds)
        return TookTooLong(
            f"the run took longer than its timeout of {limit}; give the workflow a longer `timeout`", kind="timeout"
        )


def _settle(step: StepPlan, frame: Frame, result: JsonValue) -> bool:
    """Let later steps see a result, of now or of an earlier attempt; whether the workflow goes on."""
    match step.spec.becomes:
        case Becomes.RESULT:
            frame.results[step.definition.id] = result
        case Becomes.ANSWER if isinstance(result, dict):
            frame.answer = {**(frame.answer or {}), **result}
        case Becomes.STATE if isinstance(result, dict):
            frame.state.update(result)
        case Becomes.END:
            return result is None  # null is that of a stop that was skipped
        case _:
            pass
    return True


def _show(seconds: float) -> str:
    return format_duration(timedelta(seconds=seconds))
