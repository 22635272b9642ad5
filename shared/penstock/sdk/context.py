"""`Context`: what a Python workflow or action is given. Every call on it is a step: performed once, however often the
run is tried.
"""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import ParamSpec, TypeVar, overload

from pydantic import JsonValue

from penstock.sdk.account_steps import AccountSteps
from penstock.sdk.data_steps import DataSteps
from penstock.sdk.engine import Engine, RunInfo, StepOptions
from penstock.sdk.outside_steps import OutsideSteps
from penstock.sdk.run_steps import RunSteps
from penstock.sdk.steps import find_line
from penstock.sdk.values import Thing

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run knows beside its parameters; None for what it was not started by."""

    secrets: Mapping[str, str]
    user: Thing | None = None
    webhook: Mapping[str, JsonValue] | None = None
    request: Mapping[str, JsonValue] | None = None
    change: Mapping[str, JsonValue] | None = None
    run_event: Mapping[str, JsonValue] | None = None
    recurrence: Mapping[str, JsonValue] | None = None
    outgoing_headers: Callable[[], dict[str, str]] = dict


class RunLog:
    """Writes lines to the run's log at once, each time the code gets there: what is logged before a crash is logged
    again.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def debug(self, message: str) -> None:
        """A line for those who look for a fault."""
        self._engine.write_line("debug", message)

    def info(self, message: str) -> None:
        """A line about what is done."""
        self._engine.write_line("info", message)

    def warning(self, message: str) -> None:
        """A line about what may be wrong."""
        self._engine.write_line("warning", message)

    def error(self, message: str) -> None:
        """A line about what is wrong."""
        self._engine.write_line("error", message)


class Context(DataSteps, RunSteps, OutsideSteps, AccountSteps):
    """A run, as its code sees it.

    Steps are named by their action and order: `create`, `create_2`, … or by `step_id=`. When the run is tried again,
    the code begins again, and finished steps return what they returned; so what decides which step comes next has to be
    the same each time: keep time, chance and answers of others in steps (`ctx.step`). A step that fails raises
    Permanent or Transient; if the code catches that and continues, the failure is kept, too. Steps that are awaited
    together (`asyncio.gather`) are performed one after the other, in the order of the calls; functions of `ctx.step`
    are performed at the same time.
    """

    def __init__(self, engine: Engine, run: RunInfo, params: Mapping[str, JsonValue], around: Surroundings) -> None:
        super().__init__(engine)
        self.run = run
        self.params = params
        self.user = around.user
        self.secrets = around.secrets
        self.webhook = around.webhook
        self.request = around.request
        self.change = around.change
        self.run_event = around.run_event
        self.recurrence = around.recurrence
        self.logger = RunLog(engine)
        self._outgoing_headers = around.outgoing_headers

    def outgoing_headers(self) -> dict[str, str]:
        """`traceparent` and `baggage` (W3C) for a call that code makes with a client of its own, new for each call.

        `ctx.http` and `ctx.call` send them by themselves. They tell the chain and its depth, so that a loop through
        another service, which hands them on, is cut too.
        """
        return self._outgoing_headers()

    @overload
    def step(
        self, step_id: str, function: Callable[P, Coroutine[object, object, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[object, object, T]: ...

    @overload
    def step(
        self, step_id: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[object, object, T]: ...

    def step(
        self, step_id: str, function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[object, object, object]:
        """Call any function and remember what it returns, which has to come out of JSON as its annotation says.

        A sync function is called in a thread. It is performed at least once: an executor may die after it and before it
        is remembered.
        """
        return self._engine.remember(step_id, find_line(1), function, (args, kwargs), StepOptions())

    def link_of(self, step_id: str) -> Coroutine[object, object, str]:
        """The link with which somebody without an account answers `ctx.wait_for(…, link=True, step_id=step_id)` of this
        function: the same before, meanwhile and after. It can be used once, while the run waits there. Not a step.
        """
        return self._engine.find_link(step_id)

    def do(self, step: Coroutine[object, object, T]) -> T:
        """In a sync function, perform a step and wait for it: `thing = ctx.do(ctx.create("thing", {…}))`."""
        return self._engine.wait_in_thread(step)
