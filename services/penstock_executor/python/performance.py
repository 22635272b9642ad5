"""Performs workflows and actions in Python: the function is called from the top in each attempt, and its finished steps
are recalled.

*Timeouts.* Async code is cancelled. A thread cannot be stopped: it is fenced, so that its next step raises, and left
behind. *Errors.* Permanent and Transient count as they do for steps. What else leaves an author's code is transient for
the workflow's retries, as in job systems: who wrote `retries=3` meant such errors too. It is told with its type and the
author's file and line.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from pydantic import BaseModel, JsonValue

from penstock.domain.lineage import LineageSeal
from penstock.domain.workload import POSITIONS, Activity
from penstock.errors import Permanent, Transient
from penstock.logs import get_logger
from penstock.sdk.code import Callee, find_callee
from penstock.sdk.context import Context, Surroundings
from penstock.sdk.engine import RunInfo
from penstock.sdk.modules import find_place, show_trace
from penstock.sdk.values import Thing, to_json
from penstock_executor import repository
from penstock_executor.outside.requests import lineage_headers
from penstock_executor.performing.attempt import Frame
from penstock_executor.python.engine import CodeEngine, Fault, Stopped
from penstock_executor.python.steps import CodeSteps
from penstock_executor.runs import FinishedStep, StepRecord
from penstock_executor.steps.outcomes import Coded, Done, Outcome
from penstock_executor.steps.specs import StepPlan

log = get_logger(__name__)

_LAST_SECONDS: Final = 1.0
"""How long cancelled code may take to clean up before the run goes on without it."""
_CALLS, _MILLISECONDS = POSITIONS[Activity.PYTHON_CALL], POSITIONS[Activity.PYTHON_MILLISECOND]


class CodedPerformance(CodeSteps):
    """One attempt of one run of an app that has Python."""

    _past: dict[str, FinishedStep] | None = None

    async def _perform_steps(self, frame: Frame) -> None:
        name = frame.plan.definition.python
        if name is None:
            await super()._perform_steps(frame)
            return
        parameters = frame.scope["params"]
        result = await self._call(frame, *await self._find(name), parameters if isinstance(parameters, dict) else {})
        if result is None:
            return
        if not isinstance(result, dict):
            raise Permanent(
                f"{name} returned {type(result).__name__}; a workflow returns a mapping, a model, or None",
                kind="result",
            )
        frame.answer = {**(frame.answer or {}), **result}

    async def _apply(
        self, outcome: Outcome, record: StepRecord, step: StepPlan, frame: Frame, *, may_defer: bool
    ) -> bool:
        if isinstance(outcome, Coded):
            found = await self._find(outcome.function)
            inner = Frame(frame.plan, {}, {}, {}, prefix=f"{record.step}/", nesting=frame.nesting + 1, may_defer=False)
            position = self.journal.position
            try:
                work = self._call(inner, *found, outcome.arguments)
                outcome = Done(await self._within(step.definition.timeout_seconds, work), must_commit=True)
            finally:
                self.journal.position = self.journal.position or position
        return await super()._apply(outcome, record, step, frame, may_defer=may_defer)

    async def _find(self, name: str) -> tuple[Path, Callee]:
        """The function of that name, and the directory of its app. Raises Permanent when this executor does not have
        it.
        """
        directory = self._room.app_directory
        if directory is None:
            hint = "set PENSTOCK_APP to the app's directory, which has to be in the executor's image"
            raise Permanent(f"this executor has no code to perform Python with; {hint}", kind="code")
        callee = await find_callee(directory, self._plans.app.python, name)
        if callee is None:
            raise Permanent(
                f"deployment {self.run.version} performs {name}, which the code of this executor, in {directory}, does "
                "not have; "
                "give the executors the code that was deployed, then retry the run",
                kind="code",
            )
        return directory, callee

    async def _call(self, frame: Frame, directory: Path, callee: Callee, given: Mapping[str, JsonValue]) -> JsonValue:
        """Call a function of the author's; what it returns. Its steps are performed in `frame`."""
        arguments = callee.signature.bind(given)
        frame.scope["secrets"] = self._room.secrets.values(self.run.environment)  # for connectors
        engine = CodeEngine(self, frame, directory, await self._load_past())
        seal = await self._room.tools.installation.find_seal()
        context = Context(engine, self._describe_run(), given, self._describe_surroundings(engine, seal))
        if self.journal.must_commit:
            await self.journal.commit()
        self.journal.used[_CALLS] += 1
        began = self._loop.time()
        try:
            result = await self._within(None, self._run_apart(engine, engine.call(callee, context, arguments)))
            return self._keep_secrets_out(engine, _as_json(callee, result))
        except Stopped:
            return None
        except Exception as error:
            explained = self._explain(engine, directory, error)
            if explained is error:
                raise
            raise explained from error
        finally:
            engine.close()
            self.journal.used[_MILLISECONDS] += round((self._loop.time() - began) * 1000)

    async def _run_apart(self, engine: CodeEngine, work: Coroutine[object, object, object]) -> object:
        """Code in a task of its own, so that what does not end when it is cancelled holds up nobody."""
        task = self._loop.create_task(work)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            engine.close()
            task.cancel()
            task.add_done_callback(_forget)
            await asyncio.wait({task}, timeout=_LAST_SECONDS)
            raise
        if task.cancelled():
            raise Transient("the code cancelled itself", kind="exception")
        return task.result()

    def _explain(self, engine: CodeEngine, directory: Path, error: Exception) -> Exception:
        """The error that the attempt ends with; `journal.position` is the step that failed, if it is one."""
        fault = engine.find_fault(error)
        if isinstance(fault, Fault):
            self.journal.position = fault.position
            return fault.error
        if fault is not None:
            return fault
        self.journal.position = None
        place = find_place(directory, error.__traceback__)
        shown = "" if place is None else f"{place[0]}:{place[1]}"
        if isinstance(error, Permanent | Transient):
            error.place = error.place or shown or None
            return error
        told = show_trace(directory, error)
        log.warning(
            "run.exception",
            run_id=str(self.run.id),
            workflow=self.run.workflow,
            error=f"{type(error).__name__}: {error}",
            trace=told,
        )
        raised = Transient(f"{type(error).__name__}: {error}" + (f" ({shown})" if shown else ""), kind="exception")
        raised.place = shown or None
        return raised

    async def _load_past(self) -> dict[str, FinishedStep]:
        if self._past is None:
            self._past = {}
            if self._finished:
                async with self._room.database.connection() as conn:
                    self._past = await repository.list_finished_steps(conn, run_id=self.run.id)
        return self._past

    def _keep_secrets_out(self, engine: CodeEngine, result: JsonValue) -> JsonValue:
        return (
            self._room.secrets.redactor(self.run.environment, engine.used_secrets).value(result)
            if engine.used_secrets
            else result
        )

    def _describe_run(self) -> RunInfo:
        run = self.run
        return RunInfo(
            str(run.id), str(run.chain_id), run.depth, run.depth_limit, run.attempt, run.environment, run.workflow,
            run.scheduled_at,
            run.started_at,
        )  # fmt: skip

    def _describe_surroundings(self, engine: CodeEngine, seal: LineageSeal) -> Surroundings:
        context = self.run.context or {}
        user = context.get("user")
        others = {
            name: value
            for name in ("webhook", "request", "change", "recurrence")
            if isinstance(value := context.get(name), dict)
        }
        of_user = Thing(user, "user") if isinstance(user, dict) else None
        return Surroundings(
            engine.secrets, of_user, **others, outgoing_headers=partial(lineage_headers, self.run, seal)
        )


def _as_json(callee: Callee, result: object) -> JsonValue:
    if isinstance(result, BaseModel):
        result = result.model_dump(mode="python")
    return to_json(result, f"what {callee.name} returned")


def _forget(task: "asyncio.Task[object]") -> None:
    """Nobody asks any more what became of it."""
    if not task.cancelled():
        task.exception()
