"""What a context asks of the one who performs the code, and what it knows of the run. An executor fills `Engine`
in.
"""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol, TypedDict, TypeVar

from pydantic import JsonValue

from penstock.definitions.models import RetryPolicy, StepAction
from penstock.sdk.signature import Function
from penstock.sdk.triggers import Duration

T = TypeVar("T")


class SourceLine(NamedTuple):
    """A line of an author's file."""

    file: str
    line: int


class StepOptions(TypedDict, total=False):
    """What every step takes: a name of its own instead of one by its action and order, a limit to its time, and how
    often to try.
    """

    step_id: str
    timeout: Duration
    retries: int | RetryPolicy


@dataclass(frozen=True, slots=True)
class StepCall:
    """A step that code asks for. `items` gives the parameters of each item of a list: of (item, index)."""

    action: StepAction
    target: JsonValue
    line: SourceLine
    arguments: dict[str, JsonValue] = field(default_factory=dict)
    items: Callable[[JsonValue, int], Mapping[str, JsonValue]] | None = None
    options: StepOptions = field(default_factory=StepOptions)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The run that is performed. Times are aware; `attempt` counts from 1."""

    id: str
    chain_id: str
    depth: int
    depth_limit: int
    attempt: int
    environment: str
    workflow: str
    scheduled_at: datetime
    started_at: datetime


class Engine(Protocol):
    """Performs steps for one function. Its methods take note of a step when they are called, so that the order of the
    calls counts.
    """

    def perform(self, call: StepCall, convert: Callable[[JsonValue], T]) -> Coroutine[object, object, T]:
        """Perform a step, or recall it; its result as `convert` makes it."""

    def remember(
        self,
        step_id: str,
        line: SourceLine,
        function: Function,
        arguments: tuple[tuple[object, ...], Mapping[str, object]],
        options: StepOptions,
    ) -> Coroutine[object, object, object]:
        """Call a function and keep what it returns, or recall it."""

    async def find_link(self, step_id: str) -> str:
        """The link that answers what the step of that id waits for."""

    def wait_in_thread(self, step: Coroutine[object, object, T]) -> T:
        """Have a step performed by the loop, while the calling thread waits."""

    def write_line(self, level: str, message: str) -> None:
        """A line of the run's log, at once; not a step."""
