"""Performs the steps of one function one after another, and recalls those that an earlier attempt has finished.

`paths` names the steps, `replay` compares them with what earlier attempts did. *Fencing.* Once the function has ended,
by itself or not, nothing it left behind (threads, tasks) gets another step performed. An error that ends the attempt (a
lost lease, the run's timeout) is raised again at every further step, so that code cannot catch it and continue.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from inspect import isawaitable, iscoroutinefunction
from pathlib import Path
from typing import Final, TypeVar

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from penstock.errors import LeaseLost, Permanent, Transient
from penstock.redaction import describe
from penstock.sdk.code import Callee
from penstock.sdk.context import Context
from penstock.sdk.engine import SourceLine, StepCall, StepOptions
from penstock.sdk.modules import find_place
from penstock.sdk.signature import Function, read_result_type, restore
from penstock.sdk.values import to_json
from penstock_executor.actions import SPECS
from penstock_executor.holding.threads import Threads
from penstock_executor.performing.frame import Frame
from penstock_executor.performing.timing import TookTooLong
from penstock_executor.python.paths import NamedStep, Paths
from penstock_executor.python.replay import Fault, NonDeterministic, Past
from penstock_executor.python.steps import Steps
from penstock_executor.runs import FinishedStep, StepRecord
from penstock_executor.steps.specs import Becomes

T = TypeVar("T")
_Arguments = tuple[tuple[object, ...], Mapping[str, object]]
_REMEMBER: Final = "step"
"""The kind of step that `ctx.step` records."""


class Stopped(BaseException):
    """The function ends here, as having succeeded. No Exception: code of an author's is not to catch it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What a function is called with: the app's directory, threads for sync functions, and steps that are finished."""

    directory: Path
    threads: Threads
    past: dict[str, FinishedStep]


class CodeEngine:
    """Fills in `penstock.sdk.engine.Engine` for one call of a function."""

    def __init__(self, steps: Steps, frame: Frame, caller: Caller) -> None:
        self._steps = steps
        self._frame = frame
        self._caller = caller
        self._paths = Paths(caller.directory, frame.prefix)
        self._past = Past(steps, caller.past)
        self._turn = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._end: BaseException | None = None
        self._cancelled: Permanent | None = None
        self._is_closed = False

    async def call(self, callee: Callee, context: Context, arguments: Mapping[str, object]) -> object:
        """Call the function; what it returns, or raises. To be run as a task of its own."""
        self._paths.begin()
        result = await self._call(callee.function, callee.is_async, (context,), arguments)
        if self._end is not None:
            raise self._end  # which the code has caught
        if self._paths.waiting:
            path, place = next(iter(self._paths.waiting.items()))
            raise Permanent(
                f"the step {path} at {place} was called and never awaited; write `await ctx.…`", kind="not_awaited"
            )
        self._past.settle(self._paths.count + 1)
        return result

    def close(self) -> None:
        """The function has ended: what it left behind gets no step performed any more."""
        self._is_closed = True

    def find_fault(self, error: Exception) -> Fault | Exception | None:
        """The step that raised `error`, or what ends the attempt if code has caught it; None for the author's own
        errors.
        """
        fault = self._past.find_fault(error)
        return fault if fault is not None or not isinstance(self._end, Exception) else self._end

    def perform(self, call: StepCall, convert: Callable[[JsonValue], T]) -> Coroutine[object, object, T]:
        """See `Engine`."""
        return self._perform(call, self._name(call.action.value, call.options, call.line), convert)

    def remember(
        self, step_id: str, line: SourceLine, function: Function, arguments: _Arguments, options: StepOptions
    ) -> Coroutine[object, object, object]:
        """See `Engine`."""
        return self._remember(self._name(_REMEMBER, {**options, "step_id": step_id}, line), function, arguments)

    async def find_link(self, step_id: str) -> str:
        """See `Engine`."""
        return await self._steps.find_link(f"{self._frame.prefix}{step_id}")

    def wait_in_thread(self, step: Coroutine[object, object, T]) -> T:
        """See `Engine`."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run_coroutine_threadsafe(step, self._loop).result()
        step.close()
        raise Permanent("`ctx.do` is for sync functions; in an async one, write `await`", kind="not_awaited")

    def write_line(self, level: str, message: str) -> None:
        """See `Engine`."""
        self._loop.call_soon_threadsafe(self._steps.write_line, self._steps.make_line(level, str(message)))

    def _name(self, kind: str, options: StepOptions, line: SourceLine) -> NamedStep:
        step = self._paths.give(kind, options, line)
        self._past.note(step)
        return step

    async def _perform(self, call: StepCall, step: NamedStep, convert: Callable[[JsonValue], T]) -> T:
        self._paths.waiting.pop(step.path, None)
        async with self._turn:
            if self._is_finished(step):
                self._recall_answer(call, step.path)
                return convert(self._steps.recall(step.path))
            started_at = self._steps.now()
            try:
                goes_on, result = await self._steps.perform(step, call, self._frame)
            except (Permanent, Transient) as error:
                self._fail(step, error, started_at)
                raise
            except BaseException as error:
                self._note_end(step, error)
                raise
        if not goes_on:
            self._end = Stopped()
            raise self._end
        return convert(result)

    async def _remember(self, step: NamedStep, function: Function, arguments: _Arguments) -> object:
        self._paths.waiting.pop(step.path, None)
        kind = read_result_type(function)
        async with self._turn:
            if self._is_finished(step):
                return restore(kind, self._steps.recall(step.path))
            started_at = await self._or_end(step, self._steps.begin())
        result = await self._call_remembered(step, function, arguments, kind, started_at)
        async with self._turn:
            self._check_end()
            self._past.settle(self._paths.count + 1, within=f"{step.path}/")
            record = StepRecord(step.path, _REMEMBER, "succeeded", started_at, result)
            result = await self._or_end(step, self._steps.record(record))
        return restore(kind, result)

    async def _or_end(self, step: NamedStep, work: Awaitable[T]) -> T:
        """What fails here is not the code's, and the end of the attempt."""
        try:
            return await work
        except BaseException as error:
            self._note_end(step, error)
            raise

    async def _call_remembered(
        self,
        step: NamedStep,
        function: Function,
        arguments: _Arguments,
        kind: TypeAdapter[object] | None,
        started_at: datetime,
    ) -> JsonValue:
        """What the function returned, as JSON. Its errors become Permanent or Transient, as when they are recalled."""
        try:
            with self._paths.inside(step):
                value = await self._call(function, iscoroutinefunction(function), *arguments)
            if kind is None:
                return to_json(value, f"what the step {step.path} returned")
            result: JsonValue = kind.dump_python(value, mode="json", warnings="error")
            restore(kind, result)
        except asyncio.CancelledError as error:
            self._note_end(step, error)
            raise
        except Exception as error:
            if self._end is not None:
                raise
            raised = self._as_step_error(step, function, error)
            self._fail(step, raised, started_at)
            if raised is error:
                raise
            raise raised from error
        return result

    def _as_step_error(self, step: NamedStep, function: Function, error: Exception) -> Permanent | Transient:
        if isinstance(error, Permanent | Transient):
            return error
        if isinstance(error, PydanticSerializationError | ValidationError):
            name = getattr(function, "__qualname__", str(function))
            return Permanent(
                f"what {name} returned does not fit its declared return type, as JSON: {error}", kind="result"
            )
        place = find_place(self._caller.directory, error.__traceback__)
        raised = Transient(f"{type(error).__name__}: {describe(error)}", kind="exception")
        raised.place = step.place if place is None else f"{place[0]}:{place[1]}"
        return raised

    async def _call(
        self, function: Function, is_async: bool, positional: tuple[object, ...], named: Mapping[str, object]
    ) -> object:
        """Call it, in a thread unless it is async. `sys.exit` in there ends no executor, nor does an interrupt."""
        call = partial(function, *positional, **named)
        try:
            result = call() if is_async else await self._caller.threads.call(call)
            return await result if isawaitable(result) else result
        except SystemExit as error:
            raise Transient(f"the code called sys.exit({error.code!r})", kind="exception") from error
        except (KeyboardInterrupt, GeneratorExit) as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is None:
                raise  # from no frame of the code: this coroutine is being closed
            raise Transient(f"the code raised {type(error).__name__}", kind="exception") from error

    def _is_finished(self, step: NamedStep) -> bool:
        """Whether an earlier attempt has finished it. Raises its error if it failed, and Permanent if the code has
        changed course.
        """
        self._check_end()
        self._past.settle(step.number)
        try:
            return self._past.is_finished(step)
        except NonDeterministic as error:
            self._end = error
            raise

    def _recall_answer(self, call: StepCall, path: str) -> None:
        becomes = SPECS[call.action].becomes
        if becomes is Becomes.ANSWER:
            self._frame.add_answer(self._steps.recall(path))
        elif becomes is Becomes.END:
            self._end = Stopped()
            raise self._end

    def _fail(self, step: NamedStep, error: Permanent | Transient, started_at: datetime) -> None:
        """Note a step that failed. Nothing continues after the run's time."""
        if isinstance(error, TookTooLong):
            self._end = self._end or error
        self._past.add_fault(step, error, started_at, self._paths.count)

    def _note_end(self, step: NamedStep, error: BaseException) -> None:
        """What ends the attempt. A step that the code has cancelled is in an unknown state: no other may follow."""
        if not isinstance(error, asyncio.CancelledError):
            self._end = self._end or error
        elif not self._is_closed:
            hint = "give the step `timeout=`, or put the timeout into the function"
            self._cancelled = Permanent(
                f"the code cancelled the step {step.path} while it was performed; {hint}", kind="cancelled"
            )
            self._cancelled.place = step.place

    def _check_end(self) -> None:
        if self._end is not None:
            raise self._end
        if self._is_closed:
            raise LeaseLost("the function had ended, or taken too long, when it asked for another step")
        if self._cancelled is not None:
            raise self._cancelled
