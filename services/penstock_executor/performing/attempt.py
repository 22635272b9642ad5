"""Performs the steps of one run, in order: evaluate, act, write at once or with what comes next.

A step that an earlier attempt has finished is not performed again; its result is restored. Times are the database's.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Final, Protocol

from pydantic import JsonValue

from penstock.contracts.messages import RunAnswer
from penstock.definitions.compiled import Levels
from penstock.definitions.values import format_date
from penstock.domain.approval_links import LinkTarget, sign_link, write_url
from penstock.domain.states import RunState
from penstock.domain.workload import POSITIONS, Activity
from penstock.errors import Permanent, Transient
from penstock.expressions.bounded import evaluate, holds
from penstock.expressions.language import TooMuchWork
from penstock.expressions.lookups import THINGS
from penstock.metrics import step_seconds
from penstock.redaction import Redactor
from penstock.runs.waits_and_signals import Wait
from penstock.store.logs import LogEvent
from penstock.things.privacy import EVERYTHING, Viewer
from penstock.tracing import active
from penstock_executor.holding.leases import Lease, outlast
from penstock_executor.performing.beside import Suspended, Turns
from penstock_executor.performing.frame import Frame, open_frame
from penstock_executor.performing.inside import perform_inside
from penstock_executor.performing.journal import Journal, Position
from penstock_executor.performing.references import References
from penstock_executor.performing.step_retries import MAX_PAUSE_SECONDS, StepRetries, waiting_path
from penstock_executor.performing.timing import Timing, TookTooLong
from penstock_executor.performing.user import CurrentUser
from penstock_executor.planning.plans import Plans, WorkflowPlan
from penstock_executor.room import Room
from penstock_executor.rules.failures import Failure, describe_failure
from penstock_executor.runs import Ending, StepRecord, Values
from penstock_executor.steps.outcomes import Coded, Done, Inside, Nested, Outcome, Suspend, Write
from penstock_executor.steps.specs import Becomes, Call, StepPlan

MAX_NESTED: Final = 16
"""How deep `trigger` may nest."""


class Code(Protocol):
    """Calls the functions of an app that has Python."""

    async def perform_workflow(self, frame: Frame) -> None:
        """Perform a workflow that is a function; what it returns is added to the answer."""

    async def call(self, called: Coded, step: StepPlan, path: str, frame: Frame) -> JsonValue:
        """Call the function of a `run` step; what it returned."""


class Attempt:
    """One attempt of one run. `finished` has, by path, the results of finished steps, of this attempt and earlier ones.

    `code` is there for apps that have Python. What few runs need is made when it is first asked for.
    """

    def __init__(self, room: Room, lease: Lease, plans: Plans) -> None:
        self.room = room
        self.lease = lease
        self.run = lease.run
        self.plans = plans
        self.plan = plans.workflow(lease.run.workflow)
        self.journal = Journal(room, lease)
        self.timing = Timing(lease, self.plan.definition.timeout_seconds)
        self.finished: Values = lease.run.finished or {}
        self.code: Code | None = None
        self.iterations = 0
        self._references: References | None = None

    @cached_property
    def user(self) -> CurrentUser:
        """The user for whom the run works."""
        return CurrentUser(self.room.database, self.lease, self.plans.app)

    @cached_property
    def turns(self) -> Turns:
        """Those of steps that are performed beside each other."""
        return Turns()

    async def perform(self) -> Ending:
        """Perform what is not finished yet; the ending, and what waits in the journal, have still to be committed.

        Raises everything that ends the attempt otherwise.
        """
        frame = await self._open(self.plan, self.run.parameters)
        if self.plan.secrets and self.plan.when is not None:
            self._require(self.plan.when.secrets)
        if self.plan.when is not None and not self.finished and not await holds(self.plan.when, frame.scope):
            return Ending(RunState.SKIPPED)
        try:
            await self._perform_steps(frame)
        except Suspended as suspended:
            self.journal.record(suspended.record)
            self.journal.position = None
            return Ending(RunState.WAITING, wait=suspended.wait)
        self.journal.position = None
        return Ending(RunState.SUCCEEDED, frame.outcome)

    async def perform_step(self, step: StepPlan, frame: Frame) -> bool:
        """Perform a step, or restore its result; whether the workflow continues after it."""
        definition = step.definition
        path = frame.prefix + definition.id
        if self.finished and path in self.finished:
            return frame.settle(step, self.finished[path])
        may_defer = frame.may_defer and step.is_deferrable
        if self.journal.must_commit and (step.spec.commits_first or not may_defer):
            await self.journal.commit()
        self.journal.position = Position(path, definition.place, definition.action)
        record = StepRecord(path, definition.action, "succeeded", self.timing.begin_step())
        if step.uses_now:
            frame.scope["now"] = format_date(record.started_at)
        self.journal.performed = record
        spans = active()
        span = None if spans is None else spans.begin_step(path, definition.action, record.started_at)
        try:
            if frame.plan.secrets:
                self._require(step.secrets[0])
            if step.lookups:
                await self._look_up(step.lookups, frame)
            if step.when is not None and not await holds(step.when, frame.scope) and not self._is_under_way(path):
                return self._skip(record, step, frame)
            return await self._act_with_retries(step, record, frame, may_defer=may_defer)
        except (Permanent, Transient) as error:
            if span is not None:
                span.fail(error.kind)
            if definition.on_error == "fail" or isinstance(error, TookTooLong):
                raise
            return self._pass_over(error, record, step, frame)
        finally:
            if span is not None:
                span.end(self.timing.now())

    def describe(self, error: Exception, step: str | None = None, place: str | None = None) -> Failure:
        """An error as it is stored and shown: without secrets, wherever it has them from."""
        failure = describe_failure(error, step, place)
        return replace(failure, message=self.redactor().text(failure.message))

    def redactor(self, names: frozenset[str] | None = None) -> Redactor:
        """Takes secrets out of texts and values: those of these names, or all of the environment."""
        secrets, environment = self.room.secrets, self.run.environment
        return secrets.redactor(environment) if names is None else secrets.redactor(environment, names)

    async def _perform_steps(self, frame: Frame) -> None:
        if frame.plan.definition.python is not None:
            await self._require_code().perform_workflow(frame)
            return
        for id in frame.plan.linked:  # all steps see the links of those that wait for an answer
            frame.results[id] = {"link": await self.find_link(frame.prefix + id)}
        for step in frame.plan.steps:
            if not await self.perform_step(step, frame):
                return

    async def find_link(self, path: str) -> str:
        """The link that ends the wait of a step of this run, by the step's path."""
        target = LinkTarget(self.run.environment, self.run.id, path)
        token = sign_link(await self.room.tools.installation.find_key(), target)
        return write_url(self.room.public_url, self.run.environment, token)

    async def _look_up(self, lookups: Levels, frame: Frame) -> None:
        """Find what is read through references, after what this run has changed and not yet written."""
        if self.journal.must_commit:
            await self.journal.commit()
        frame.scope[THINGS] = await self._find_referred(frame.viewer, lookups, [frame.scope])

    async def _find_referred(self, viewer: Viewer, lookups: Levels, scopes: Sequence[Values]) -> Values:
        if self._references is None:
            self._references = References(self.room.database, self.lease, self.plans.app)
        before = self._references.read
        found = await self._references.look_up(viewer, lookups, scopes)
        self.journal.used[POSITIONS[Activity.THING_RETURNED]] += self._references.read - before
        return found

    async def _act_with_retries(self, step: StepPlan, record: StepRecord, frame: Frame, *, may_defer: bool) -> bool:
        if frame.plan.secrets:
            self._require(step.secrets[1])
        policy = step.definition.retry or step.spec.retries
        if policy is None:
            return await self._apply(await self._act(step, record, frame), record, step, frame, may_defer=may_defer)
        retries = StepRetries(policy, self.run, record, self.finished)
        if (pause := retries.find_pause(self.finished, self.timing.now())) is not None:
            raise Suspended(*pause)
        while True:
            try:
                outcome = await self._act(step, record, frame)
                retries.note_success(self.timing)
                return await self._apply(outcome, record, step, frame, may_defer=may_defer)
            except (Permanent, Transient) as error:
                failure = self.describe(error, record.step, step.definition.place)
                retries.note_failure(self.timing, error, failure)
                delay = None if isinstance(error, Permanent | TookTooLong) else retries.next_delay(error)
                if delay is None:
                    raise
                if delay > MAX_PAUSE_SECONDS:
                    wait, paused, line = retries.put_off(failure, self.timing.now(), delay)
                    self.room.logbook.write(line)
                    raise Suspended(wait, paused) from None
                await self.turns.pass_on(frame, self.journal, self.timing.within(None, asyncio.sleep(delay)))
                retries.begin_again(self.timing)

    async def _act(self, step: StepPlan, record: StepRecord, frame: Frame) -> Outcome:
        spec = step.spec
        for activity in spec.consumes.begun:
            self.journal.used[activity] += 1
        try:
            arguments, target = step.arguments.evaluate(frame.scope), step.target.evaluate(frame.scope)
        except TooMuchWork:
            arguments, target = await evaluate(step.arguments, frame.scope), await evaluate(step.target, frame.scope)
        call = Call(
            self.run,
            record.step,
            step,
            target,
            arguments if isinstance(arguments, dict) else {},
            frame.scope,
            record.started_at,
            self.plans.app,
            self.room.tools,
            self.timing.deadline,
            self._find_referred,
            frame.viewer,
        )
        if spec.immediate is not None:
            return spec.immediate(call)
        assert spec.awaited is not None
        if spec.at_once is not None:
            if (outcome := spec.at_once(call)) is not None:
                return outcome
            if self.journal.must_commit:
                await self.journal.commit()
        if spec.is_apart and frame.is_beside:
            return await self.turns.pass_on(frame, self.journal, self._wait_for(call, spec.awaited))
        return await self._wait_for(call, spec.awaited)

    async def _wait_for(self, call: Call, awaited: Callable[[Call], Awaitable[Outcome]]) -> Outcome:
        """Await an action within the step's and the run's time limits, and wait while the database is away."""
        self.journal.finish_all(call.now)
        began = time.perf_counter()
        try:
            if call.plan.spec.minds_its_time:
                return await outlast(self.lease, lambda: awaited(call))
            seconds = call.plan.definition.timeout_seconds
            return await outlast(self.lease, lambda: self.timing.within(seconds, awaited(call)))
        finally:
            step_seconds(call.plan.definition.action).observe(time.perf_counter() - began)

    async def _apply(
        self, outcome: Outcome, record: StepRecord, step: StepPlan, frame: Frame, *, may_defer: bool
    ) -> bool:
        """Have the step written, and let later steps see its result; whether the workflow continues."""
        match outcome:
            case Done():
                self._keep(outcome, record, frame)
            case Write():
                await self._write(outcome, record, may_defer=may_defer)
            case Suspend():
                self._suspend(outcome, record)
            case Inside():
                done = await perform_inside(self, outcome, step, record, frame)
                if done is None:
                    return False
                self._keep(done, record, frame)
            case Nested():
                self._keep(Done(await self._perform_nested(outcome, record.step, frame, may_defer)), record, frame)
            case Coded():
                result = await self._require_code().call(outcome, step, record.step, frame)
                self._keep(Done(result, must_commit=True), record, frame)
        if step.spec.consumes.done is not None:
            step.spec.consumes.done(self.journal.used, outcome, record.result)
        self._remember(record, frame)
        return await self._show_result(step, record, frame)

    def _suspend(self, suspend: Suspend, record: StepRecord) -> None:
        """Have the run wait; what has waited long enough beside something else is done."""
        until = suspend.until
        if self.finished and (known := self.finished.get(waiting_path(record.step))) is not None:
            until = datetime.fromisoformat(str(known))
            if until <= self.timing.now() and suspend.signal is None and not suspend.awaited:
                self.journal.record(record)
                return
        record.outcome = "waiting"
        wait = Wait(record.step, until, suspend.signal, suspend.match, suspend.awaited, form=suspend.form)
        raise Suspended(wait, record)

    def _keep(self, done: Done, record: StepRecord, frame: Frame) -> None:
        """Record a result without the secrets that its workflow reads: a server may send back what it was sent."""
        record.result = self.redactor(frame.plan.secrets).value(done.result) if frame.plan.secrets else done.result
        record.child = done.child
        self.journal.record(record, must_commit=done.must_commit)

    async def _write(self, write: Write, record: StepRecord, *, may_defer: bool) -> None:
        record.result = write.result
        if self._references is not None:
            self._references.forget()
        position = self.journal.position
        assert position is not None
        self.journal.defer(write, record, position)
        if not (may_defer and write.is_known):
            result = await self.journal.commit()
            if not write.is_known:
                record.result = result

    async def _show_result(self, step: StepPlan, record: StepRecord, frame: Frame) -> bool:
        """Let later steps see the result, and others for whom it is; whether the workflow continues."""
        becomes = step.spec.becomes
        if becomes is Becomes.LINE:
            message, now = str(record.result), self.timing.now()
            self.room.logbook.write(self.run.line("info", LogEvent.OUTPUT, message, now, step=record.step))
        goes_on = frame.settle(step, record.result)
        if becomes is Becomes.ANSWER and frame.plan.answers_early and not frame.nesting:
            await self._answer_early(frame.whole)
        return goes_on

    async def _perform_nested(self, nested: Nested, path: str, frame: Frame, may_defer: bool) -> JsonValue:
        """Perform a triggered workflow; its answer, or null."""
        if frame.nesting >= MAX_NESTED:
            raise Permanent(
                f"`trigger` is nested more than {MAX_NESTED} deep, at {nested.workflow}; schedule it instead",
                kind="nesting",
            )
        inner = await self._open(self.plans.workflow(nested.workflow), nested.parameters)
        inner.prefix, inner.nesting, inner.may_defer = f"{path}/", frame.nesting + 1, may_defer
        inner.is_beside = frame.is_beside
        if inner.plan.secrets and inner.plan.when is not None:
            self._require(inner.plan.when.secrets)
        when = inner.plan.when
        if when is not None and not await holds(when, inner.scope) and not self._is_under_way(path):
            message = f"{nested.workflow} was not performed"
            self.room.logbook.write(
                self.run.line("info", LogEvent.CONDITION_NOT_PASSED, message, self.timing.now(), step=path)
            )
            return None
        await self._perform_steps(inner)
        return inner.outcome

    def _is_under_way(self, path: str) -> bool:
        """Whether an earlier attempt has begun what this step triggers or has inside: its conditions were met, and are
        not checked again.
        """
        return any(finished.startswith((f"{path}/", f"{path}[")) for finished in self.finished)

    async def _answer_early(self, frame: Frame) -> None:
        """Answer the caller now; what led to the answer is durable before."""
        await self.journal.commit(answer=frame.answer)
        if self.lease.reply_to is not None:
            answer = RunAnswer.model_construct(run_id=self.run.id, state=RunState.RUNNING, result=frame.answer)
            self.room.publisher.answer(self.lease.reply_to, answer)
            self.lease.reply_to = None

    def _skip(self, record: StepRecord, step: StepPlan, frame: Frame) -> bool:
        record.outcome = "skipped"
        self.journal.record(record)
        self._remember(record, frame)
        return frame.settle(step, None)

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
        """So that a step that is retried does not perform again what is finished inside it."""
        if frame.nesting or frame.of is not None:
            self.finished[record.step] = record.result

    async def _open(self, plan: WorkflowPlan, parameters: Values) -> Frame:
        viewer = await self.user.view(self.timing.now()) if plan.is_guarded else EVERYTHING
        user = await self.user.find(viewer) if "user" in plan.roots else None
        frame = open_frame(plan, self.run, parameters, secrets=self.room.secrets, timing=self.timing, user=user)
        frame.viewer = viewer
        if plan.lookups and not self.finished:
            await self._look_up(plan.lookups, frame)
        return frame

    def _require(self, secrets: frozenset[str]) -> None:
        """Raises Permanent when one of these is not set. It would read as null otherwise, and null == null is true."""
        if secrets:
            self.room.secrets.require(self.run.environment, secrets)

    def _require_code(self) -> Code:
        assert self.code is not None, "only an app with Python has functions to call"
        return self.code
