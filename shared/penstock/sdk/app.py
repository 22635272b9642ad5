"""`App`: where an author's functions register as workflows and actions."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from penstock.definitions.flow import Flow
from penstock.definitions.models import DEFAULT_PRIORITY, DEFAULT_TIMEOUT_SECONDS, RetryPolicy
from penstock.sdk.flow import Keys, OneOrMore, make_flow
from penstock.sdk.signature import Function
from penstock.sdk.triggers import Duration, Trigger, to_seconds

F = TypeVar("F", bound=Function)


@dataclass(frozen=True, slots=True)
class WorkflowOptions:
    """What a decorator says of a workflow."""

    name: str
    label: str
    triggers: tuple[Trigger, ...]
    retries: RetryPolicy
    timeout_seconds: float
    depth_limit: int | None
    is_recursive: bool
    decreases: str | None
    priority: int
    when: str | None
    ignore_privacy: bool
    flow: Flow | None = None


class App:
    """The Python part of an app. Make one per module, or one for all of them; app.yaml names the modules: `python:
    [shop.workflows]`.

    A decorated function stays the function it is: it can be called by others, and by unit tests with a context of their
    own.
    """

    def __init__(self) -> None:
        self.workflows: Final[list[tuple[Function, WorkflowOptions]]] = []
        self.actions: Final[list[Function]] = []

    def workflow(
        self,
        *,
        on: Sequence[Trigger] = (),
        name: str | None = None,
        label: str = "",
        retries: int | RetryPolicy = 1,
        timeout: Duration = DEFAULT_TIMEOUT_SECONDS,
        depth_limit: int | None = None,
        recursive: bool | Mapping[str, str] = False,
        priority: int = DEFAULT_PRIORITY,
        when: str | None = None,
        ignore_privacy: bool = False,
        concurrency: OneOrMore = (),
        rate: OneOrMore = (),
        sequence: Keys | None = None,
        debounce: Keys | None = None,
    ) -> Callable[[F], F]:
        """Make a workflow of a function `(ctx, …)`; its name is the function's unless `name` is given.

        `on` is what starts it from outside; `retries` how often it is tried in all, or what `penstock.retries` gives;
        `timeout` ends each try. `recursive` says that recursion is meant; `{"decreases": "params.remaining"}` proves
        that it ends. `when` is an expression, as in YAML: where it does not hold, the run is skipped. `ignore_privacy`
        says that it is meant to read past privacy rules. `concurrency`, `rate`, `sequence` and `debounce` are written
        as in YAML: `concurrency={"limit": 1, "key": "params.owner"}`, or a list of several. Raises ValueError for
        options out of range.
        """
        policy = RetryPolicy(attempts=retries) if isinstance(retries, int) else retries
        seconds = to_seconds(timeout)
        if not seconds or not 1 <= policy.attempts <= 1000 or not 0 <= priority <= 9:
            raise ValueError("retries are from 1 to 1000, priority is from 0 to 9, and a timeout is longer than 0")
        decreases = None if isinstance(recursive, bool) else _read_decreases(recursive)
        flow = make_flow(concurrency, rate, sequence, debounce)

        def register(function: F) -> F:
            _check_function(function, "workflow")
            options = WorkflowOptions(
                name or function.__name__, label, tuple(on), policy, seconds, depth_limit, bool(recursive), decreases,
                priority, when, ignore_privacy, flow,
            )  # fmt: skip
            self.workflows.append((function, options))
            return function

        return register

    def action(self, function: F) -> F:
        """Make an action of a function `(ctx, …)`: steps in YAML perform it by `run: module.function`, with arguments
        under `with`.
        """
        _check_function(function, "action")
        self.actions.append(function)
        return function


def _read_decreases(recursive: Mapping[str, str]) -> str:
    if set(recursive) != {"decreases"}:
        raise ValueError('recursive is True, False or {"decreases": "params.remaining"}')
    return recursive["decreases"]


def _check_function(function: object, what: str) -> None:
    if not inspect.isfunction(function) or "<" in function.__qualname__:  # <locals>, <lambda>
        raise TypeError(
            f"a {what} has to be a function of a module, which executors find by name, and this is {function!r}"
        )
