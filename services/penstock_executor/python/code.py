"""Performs Python workflows and actions: each attempt calls the function from the top, and finished steps are recalled.

*Timeouts.* Async code is cancelled. A thread cannot be stopped: it is fenced, so that its next step raises, and left
behind. *Errors.* Permanent and Transient count as they do for steps. Everything else that leaves an author's code is
transient for the workflow's retries, as in job systems: `retries=3` is meant for such errors too. It is reported with
its type and the author's file and line.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Final

from pydantic import BaseModel, JsonValue

from penstock.domain.workload import POSITIONS, Activity
from penstock.errors import Permanent, Transient
from penstock.logs import bind_fields, get_logger
from penstock.redaction import describe
from penstock.sdk.code import Callee, find_callee
from penstock.sdk.context import Context
from penstock.sdk.modules import find_place, show_trace
from penstock.sdk.values import to_json
from penstock_executor.performing.attempt import Attempt
from penstock_executor.performing.frame import Frame
from penstock_executor.python.engine import Caller, CodeEngine, Stopped
from penstock_executor.python.replay import Fault
from penstock_executor.python.secrets import UsedSecrets
from penstock_executor.python.steps import AttemptSteps
from penstock_executor.python.surroundings import describe_run, describe_surroundings
from penstock_executor.repository.claims import list_finished_steps
from penstock_executor.runs import FinishedStep
from penstock_executor.steps.outcomes import Coded
from penstock_executor.steps.specs import StepPlan

log = get_logger(__name__)

_LAST_SECONDS: Final = 1.0
"""How long cancelled code may take to clean up before the run continues without it."""
_CALLS, _MILLISECONDS = POSITIONS[Activity.PYTHON_CALL], POSITIONS[Activity.PYTHON_MILLISECOND]


class AppCode:
    """The code of an app, as one attempt of one run calls it (see `performing.attempt.Code`)."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._past: dict[str, FinishedStep] | None = None

    async def perform_workflow(self, frame: Frame) -> None:
        """Perform a workflow that is a function; what it returns is added to the answer."""
        name, parameters = frame.plan.definition.python, frame.scope["params"]
        assert name is not None
        # Parameters were bound when the run was admitted. A required one is null where nobody called: after a webhook.
        given = parameters if isinstance(parameters, dict) else {}
        result = await self._call(frame, name, given, may_be_null=True)
        if result is not None and not isinstance(result, dict):
            raise Permanent(
                f"{name} returned {type(result).__name__}; a workflow returns a mapping, a model, or None",
                kind="result",
            )
        frame.add_answer(result)

    async def call(self, called: Coded, step: StepPlan, path: str, frame: Frame) -> JsonValue:
        """Call the function of a `run` step; what it returned."""
        attempt = self._attempt
        inner = Frame(frame.plan, {}, {}, {}, prefix=f"{path}/", nesting=frame.nesting + 1, may_defer=False)
        inner.viewer = frame.viewer
        position = attempt.journal.position
        try:
            work = self._call(inner, called.function, called.arguments)
            return await attempt.timing.within(step.definition.timeout_seconds, work)
        finally:
            attempt.journal.position = attempt.journal.position or position

    async def _call(
        self, frame: Frame, name: str, given: Mapping[str, JsonValue], *, may_be_null: bool = False
    ) -> JsonValue:
        """Call a function of the author's; what it returns. Its steps are performed in `frame`."""
        attempt = self._attempt
        directory, callee = await self._find(name)
        arguments = callee.signature.bind(given, may_be_null=may_be_null)
        secrets = UsedSecrets(attempt.room.secrets, attempt.run.environment)
        frame.scope["secrets"] = attempt.room.secrets.values(attempt.run.environment)  # for connectors
        caller = Caller(directory, attempt.room.threads, await self._load_past())
        engine = CodeEngine(AttemptSteps(attempt, secrets), frame, caller)
        seal = await attempt.room.tools.installation.find_seal()
        surroundings = describe_surroundings(attempt.run, await attempt.user.find(frame.viewer), secrets, seal)
        context = Context(engine, describe_run(attempt.run), given, surroundings)
        if attempt.journal.must_commit:
            await attempt.journal.commit()
        attempt.journal.used[_CALLS] += 1
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            work = self._run_apart(engine, engine.call(callee, context, arguments))
            result = _as_json(callee, await attempt.timing.within(None, work))
            return attempt.redactor(secrets.used).value(result) if secrets.used else result
        except Stopped:
            return None
        except Exception as error:
            explained = self._explain(engine, directory, error)
            if explained is error:
                raise
            raise explained from error
        finally:
            engine.close()
            attempt.journal.used[_MILLISECONDS] += round((loop.time() - began) * 1000)

    async def _find(self, name: str) -> tuple[Path, Callee]:
        """The function of that name and its app's directory. Raises Permanent when this executor does not have it."""
        attempt = self._attempt
        directory = attempt.room.app_directory
        if directory is None:
            hint = "set PENSTOCK_APP to the app's directory, which has to be in the executor's image"
            raise Permanent(f"this executor has no code to perform Python with; {hint}", kind="code")
        callee = await find_callee(directory, attempt.plans.app.python, name)
        if callee is None:
            raise Permanent(
                f"deployment {attempt.run.version} performs {name}, which the code of this executor, in {directory}, "
                "does not have; give the executors the code that was deployed, then retry the run",
                kind="code",
            )
        return directory, callee

    async def _run_apart(self, engine: CodeEngine, work: Coroutine[object, object, object]) -> object:
        """Code in a task of its own, so that what does not end when it is cancelled holds up nobody."""
        run, context = self._attempt.run, copy_context()
        fields = {"run_id": str(run.id), "chain_id": str(run.chain_id), "workflow": run.workflow, "depth": run.depth}
        context.run(partial(bind_fields, **fields))
        task = asyncio.get_running_loop().create_task(work, context=context)
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
            self._attempt.journal.position = fault.position
            return fault.error
        if fault is not None:
            return fault
        self._attempt.journal.position = None
        place = find_place(directory, error.__traceback__)
        shown = "" if place is None else f"{place[0]}:{place[1]}"
        if isinstance(error, Permanent | Transient):
            error.place = error.place or shown or None
            return error
        run, told = self._attempt.run, f"{type(error).__name__}: {describe(error)}"
        log.warning(
            "run.exception",
            run_id=str(run.id),
            workflow=run.workflow,
            error=told,
            trace=show_trace(directory, error),
        )
        raised = Transient(told + (f" ({shown})" if shown else ""), kind="exception")
        raised.place = shown or None
        return raised

    async def _load_past(self) -> dict[str, FinishedStep]:
        """What earlier attempts have finished; read once, however many functions the run calls."""
        if self._past is None:
            self._past = {}
            if self._attempt.finished:
                async with self._attempt.room.database.connection() as conn:
                    self._past = await list_finished_steps(conn, run_id=self._attempt.run.id)
        return self._past


def _as_json(callee: Callee, result: object) -> JsonValue:
    if isinstance(result, BaseModel):
        result = result.model_dump(mode="python")
    return to_json(result, f"what {callee.name} returned")


def _forget(task: "asyncio.Task[object]") -> None:
    """Nobody asks any more what became of it."""
    if not task.cancelled():
        task.exception()
