"""Performs the steps that one function asks for, one after the other, and recalls those that an earlier attempt has
finished.

*Names.* A step is known by its path: its action and how many of that kind came before, or its `step_id`. Paths are
given when a method of the context is called, not when it is awaited, so that calls awaited together are named in the
order in which they stand. *Replay.* A step that asks for a path that is finished gets what it got then: a result, or,
if it had failed and the code went on, the failure. When a step is to be performed anew although later ones are
finished, or a path belongs to another kind of step, the code does not do what it did before, and the run fails: nobody
could tell which result belongs where. *Fencing.* Once the function has ended, by itself or not, nothing it left behind
(threads, tasks) gets another step performed. An error that ends the attempt (a lost lease, the run's timeout) is raised
again at every further step, so that code cannot catch it away.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from inspect import isawaitable, iscoroutinefunction
from pathlib import Path
from typing import Final, TypeVar

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from penstock.definitions.models import StepAction
from penstock.errors import LeaseLost, Permanent, Transient
from penstock.logs import bind_fields
from penstock.sdk.code import Callee
from penstock.sdk.context import Context
from penstock.sdk.engine import Asked, Spot, StepOptions
from penstock.sdk.modules import find_place, show_place
from penstock.sdk.signature import Function, read_result_type, restore
from penstock.sdk.values import to_json
from penstock.store.logs import LogEvent
from penstock_executor.performing.attempt import Frame, TookTooLong
from penstock_executor.performing.journal import Position
from penstock_executor.python.steps import CodeSteps
from penstock_executor.runs import FinishedStep, StepRecord, Values

T = TypeVar("T")
_Arguments = tuple[tuple[object, ...], Mapping[str, object]]
_STEP_ID: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_PAUSE: Final = "~"
"""Stands in the paths of waits between two tries of a step, which are not asked for."""
_REMEMBER: Final = "step"
"""The kind of step that `ctx.step` records."""


class Stopped(BaseException):
    """The function ends here, as having succeeded. No Exception: code of an author's is not to catch it."""


@dataclass(slots=True, eq=False)
class _Scope:
    """Where paths are given: in the function itself, or in one that `ctx.step` calls. `asked` are the paths given so
    far.
    """

    prefix: str
    counts: dict[str, int] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """A step that failed, and what was raised. `noticed` counts the calls up to then."""

    error: Permanent | Transient
    position: Position
    started_at: datetime
    noticed: int


@dataclass(frozen=True, slots=True)
class _Ask:
    """A call on the context: its path, where it stands in the code, and its number."""

    path: str
    place: str
    number: int
    scope: _Scope


class _Secrets(Mapping[str, str]):
    """The secrets of the environment. Which were read is noted, so that they are kept out of what is stored."""

    def __init__(self, performance: CodeSteps, used: set[str]) -> None:
        self._performance = performance
        self._used = used

    def __getitem__(self, name: str) -> str:
        self._used.add(name)
        return str(self._performance.require_secret(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._performance.list_secrets())

    def __len__(self) -> int:
        return len(self._performance.list_secrets())


_SCOPE: Final[ContextVar[_Scope]] = ContextVar("penstock_scope")


class CodeEngine:
    """Fills in `penstock.sdk.engine.Engine` for one call of a function."""

    def __init__(self, performance: CodeSteps, frame: Frame, directory: Path, past: dict[str, FinishedStep]) -> None:
        self._performance = performance
        self._frame = frame
        self._directory = directory
        self._past = past
        self._unasked = {path for path in past if _PAUSE not in path}
        self._root = _Scope(frame.prefix)
        self._turn = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._calls = 0
        self._waiting: dict[str, str] = {}
        self._faults: list[Fault] = []
        self._end: BaseException | None = None
        self._cancelled: Permanent | None = None
        self._is_closed = False
        self._used: set[str] = set()
        self.secrets: Mapping[str, str] = _Secrets(performance, self._used)

    @property
    def used_secrets(self) -> frozenset[str]:
        """The names of the secrets that the code has read."""
        return frozenset(self._used)

    async def call(self, callee: Callee, context: Context, arguments: Mapping[str, object]) -> object:
        """Call the function; what it returns, or raises. To be run as a task of its own."""
        run = self._performance.run
        _SCOPE.set(self._root)
        bind_fields(run_id=str(run.id), chain_id=str(run.chain_id), workflow=run.workflow, depth=run.depth)
        result = await self._call(callee.function, callee.is_async, (context,), arguments)
        if self._end is not None:
            raise self._end  # which the code has caught
        if self._waiting:
            path, place = next(iter(self._waiting.items()))
            raise Permanent(
                f"the step {path} at {place} was called and never awaited; write `await ctx.…`", kind="not_awaited"
            )
        self._settle_faults(self._calls + 1)
        return result

    def close(self) -> None:
        """The function has ended: what it left behind gets no step performed any more."""
        self._is_closed = True

    def find_fault(self, error: Exception) -> Fault | Exception | None:
        """The step that raised `error`; or what ends the attempt instead, if code has caught it; None for the author's
        own errors.
        """
        raised = list(_leaves(error))
        fault = next((fault for fault in self._faults if fault.error in raised), None)
        return fault if fault is not None or not isinstance(self._end, Exception) else self._end

    def perform(self, asked: Asked, convert: Callable[[JsonValue], T]) -> Coroutine[object, object, T]:
        """See `Engine`."""
        return self._perform(asked, self._note(asked.action.value, asked.options, asked.spot), convert)

    def remember(
        self, step_id: str, spot: Spot, function: Function, arguments: _Arguments, options: StepOptions
    ) -> Coroutine[object, object, object]:
        """See `Engine`."""
        ask = self._note(_REMEMBER, {**options, "step_id": step_id}, spot)
        return self._remember(ask, function, arguments)

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
        line = self._performance.run.line(
            level, LogEvent.OUTPUT, self._performance.redact_text(str(message)), self._performance.now()
        )
        self._loop.call_soon_threadsafe(self._performance.write_line, line)

    def _note(self, kind: str, options: StepOptions, spot: Spot) -> _Ask:
        """Give a step its path."""
        scope, place = _SCOPE.get(self._root), show_place(self._directory, spot.file, spot.line)
        id = options.get("step_id")
        if id is None:
            id = self._next_id(scope, kind)
        elif not _STEP_ID.fullmatch(id):
            raise Permanent(
                f"{id[:120]!r} cannot be the id of a step; use at most 100 letters, digits and _ . -", kind="step_id"
            )
        path = scope.prefix + id
        if path in scope.asked:
            raise Permanent(
                f"two steps have the id {id!r}; each has one of its own, also in a loop: f'{id}_{{number}}'",
                kind="step_id",
            )
        scope.asked.add(path)
        self._unasked.discard(path)
        self._calls += 1
        self._waiting[path] = place
        return _Ask(path, place, self._calls, scope)

    def _next_id(self, scope: _Scope, kind: str) -> str:
        while True:
            number = scope.counts[kind] = scope.counts.get(kind, 0) + 1
            id = kind if number == 1 else f"{kind}_{number}"
            if scope.prefix + id not in scope.asked:
                return id

    async def _perform(self, asked: Asked, ask: _Ask, convert: Callable[[JsonValue], T]) -> T:
        self._waiting.pop(ask.path, None)
        async with self._turn:
            if self._is_finished(ask, asked.action.value):
                self._recall_answer(asked.action, ask.path)
                return convert(self._performance.recall(ask.path))
            plan = self._performance.plan_step(asked, ask.path.removeprefix(ask.scope.prefix), ask.place)
            frame, started_at = self._frame, self._performance.now()
            frame.prefix = ask.scope.prefix
            frame.plan = frame.plan.with_secrets(self.used_secrets | plan.secrets[1])
            try:
                goes_on = await self._performance.perform_step(plan, frame)
            except (Permanent, Transient) as error:
                self._fail(ask, asked.action.value, error, started_at)
                raise
            except BaseException as error:
                self._note_end(ask, error)
                raise
        if not goes_on:
            self._end = Stopped()
            raise self._end
        return convert(frame.results.get(plan.definition.id))

    async def _remember(self, ask: _Ask, function: Function, arguments: _Arguments) -> object:
        self._waiting.pop(ask.path, None)
        kind = read_result_type(function)
        async with self._turn:
            if self._is_finished(ask, _REMEMBER):
                return restore(kind, self._performance.recall(ask.path))
            started_at = await self._or_end(ask, self._performance.begin_code())
        result = await self._call_remembered(ask, function, arguments, kind, started_at)
        async with self._turn:
            self._check_end()
            self._settle_faults(self._calls + 1, within=f"{ask.path}/")
            record = StepRecord(ask.path, _REMEMBER, "succeeded", started_at, result)
            result = await self._or_end(ask, self._performance.record_code(record, self.used_secrets))
        return restore(kind, result)

    async def _or_end(self, ask: _Ask, work: Awaitable[T]) -> T:
        """What fails here is not the code's, and the end of the attempt."""
        try:
            return await work
        except BaseException as error:
            self._note_end(ask, error)
            raise

    async def _call_remembered(
        self,
        ask: _Ask,
        function: Function,
        arguments: _Arguments,
        kind: TypeAdapter[object] | None,
        started_at: datetime,
    ) -> JsonValue:
        """What the function returned, as JSON. What it raises comes as Permanent or Transient, as it does when it is
        recalled.
        """
        token = _SCOPE.set(_Scope(f"{ask.path}/"))
        try:
            value = await self._call(function, iscoroutinefunction(function), *arguments)
            if kind is None:
                return to_json(value, f"what the step {ask.path} returned")
            result: JsonValue = kind.dump_python(value, mode="json", warnings="error")
            restore(kind, result)
        except asyncio.CancelledError as error:
            self._note_end(ask, error)
            raise
        except Exception as error:
            if self._end is not None:
                raise
            raised = self._as_step_error(ask, function, error)
            self._fail(ask, _REMEMBER, raised, started_at)
            if raised is error:
                raise
            raise raised from error
        finally:
            _SCOPE.reset(token)
        return result

    def _as_step_error(self, ask: _Ask, function: Function, error: Exception) -> Permanent | Transient:
        if isinstance(error, Permanent | Transient):
            return error
        if isinstance(error, PydanticSerializationError | ValidationError):
            name = getattr(function, "__qualname__", str(function))
            return Permanent(
                f"what {name} returned does not fit what it is said to return, as JSON: {error}", kind="result"
            )
        place = find_place(self._directory, error.__traceback__)
        raised = Transient(f"{type(error).__name__}: {error}", kind="exception")
        raised.place = ask.place if place is None else f"{place[0]}:{place[1]}"
        return raised

    async def _call(
        self, function: Function, is_async: bool, positional: tuple[object, ...], named: Mapping[str, object]
    ) -> object:
        """Call it, in a thread unless it is async. `sys.exit` in there ends no executor."""
        call = partial(function, *positional, **named)
        try:
            result = call() if is_async else await self._performance.threads.call(call)
            return await result if isawaitable(result) else result
        except SystemExit as error:
            raise Transient(f"the code called sys.exit({error.code!r})", kind="exception") from error

    def _is_finished(self, ask: _Ask, kind: str) -> bool:
        """Whether an earlier attempt has done it. Raises what it failed with if it did, and Permanent if the code went
        another way.
        """
        self._check_end()
        self._settle_faults(ask.number)
        if self._performance.is_finished(ask.path):
            past = self._past.get(ask.path)
            if past is not None and past.action != kind:
                raise self._went_astray(
                    ask, f"{ask.path} was a step of the kind {past.action!r}, and now it is {kind!r}"
                )
            if past is not None and isinstance(past.error, dict):
                raise self._restore(ask, past.error)
            return True
        if kind != StepAction.LOG.value:
            for path in self._unasked:
                if path.startswith(ask.scope.prefix) and "/" not in path.removeprefix(ask.scope.prefix):
                    raise self._went_astray(ask, f"{path} was performed then, and now {ask.path} comes before it")
        return False

    def _went_astray(self, ask: _Ask, how: str) -> Permanent:
        hint = (
            "code has to ask for the same steps in the same order in each attempt: keep time, chance and answers of "
            "others in `ctx.step`. "
            "If the code was changed meanwhile, start the run anew"
        )
        error = Permanent(
            f"the code does not do what it did in an earlier attempt: {how}; {hint}", kind="non_deterministic"
        )
        error.place = ask.place
        self._end = error
        return error

    def _restore(self, ask: _Ask, error: Mapping[str, JsonValue]) -> Permanent | Transient:
        message, kind = str(error.get("message")), str(error.get("kind"))
        raised = Transient(message, kind=kind) if error.get("is_transient") else Permanent(message, kind=kind)
        raised.place = ask.place
        return raised

    def _recall_answer(self, action: StepAction, path: str) -> None:
        result = self._performance.recall(path)
        if action is StepAction.RETURN and isinstance(result, dict):
            self._frame.answer = {**(self._frame.answer or {}), **result}
        elif action is StepAction.STOP:
            self._end = Stopped()
            raise self._end

    def _fail(self, ask: _Ask, kind: str, error: Permanent | Transient, started_at: datetime) -> None:
        """Note a step that failed: who reads on decides what becomes of it. Nobody goes on after the run's time."""
        if isinstance(error, TookTooLong):
            self._end = self._end or error
        self._faults.append(Fault(error, Position(ask.path, error.place or ask.place, kind), started_at, self._calls))

    def _settle_faults(self, number: int, *, within: str = "") -> None:
        """The code has gone on after these steps failed: that they did is remembered, or another attempt might go
        another way.

        Those are meant that failed before call `number`, and whose path begins with `within`.
        """
        for fault in [
            fault for fault in self._faults if fault.noticed < number and fault.position.path.startswith(within)
        ]:
            self._faults.remove(fault)
            failure = self._performance.describe(fault.error, fault.position.path, fault.position.place)
            told: Values = {**failure.to_json(), "is_transient": isinstance(fault.error, Transient)}
            result: JsonValue = {"error": {"kind": failure.kind, "message": failure.message}}
            record = StepRecord(fault.position.path, fault.position.action, "failed", fault.started_at, result, told)
            self._performance.pass_over_code(record)
            self._past[fault.position.path] = FinishedStep(fault.position.action, told)

    def _note_end(self, ask: _Ask, error: BaseException) -> None:
        """What ends the attempt. A step that the code has cancelled is in an unknown state: no other may follow."""
        if not isinstance(error, asyncio.CancelledError):
            self._end = self._end or error
        elif not self._is_closed:
            hint = "give the step `timeout=`, or put the timeout into the function"
            self._cancelled = Permanent(
                f"the code has cancelled the step {ask.path} in the middle; {hint}", kind="cancelled"
            )
            self._cancelled.place = ask.place

    def _check_end(self) -> None:
        if self._end is not None:
            raise self._end
        if self._is_closed:
            raise LeaseLost("the function had ended, or taken too long, when it asked for another step")
        if self._cancelled is not None:
            raise self._cancelled


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors of a group, which a TaskGroup raises; any other is itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
