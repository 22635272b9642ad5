"""Steps of one run that are performed beside each other: those of branches, and of several items at once.

A run has one journal, in which one step at a time writes. So the branches take turns: one is performed until it calls
out, or pauses between two tries; meanwhile another one is. When a step fails, those that are under way come to their
end, which is remembered, no other begins, and then the attempt ends with that failure.

*Waits.* Once none of its branches can continue, the run waits: for the signal or the runs that one of them waits for,
and until the first time that another one does. Until when each waits is noted beside its step. A run has one wait, so
two branches cannot listen at the same time.
"""

import asyncio
from collections.abc import Awaitable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from pydantic import JsonValue

from penstock.errors import Permanent
from penstock.runs.waits_and_signals import Wait
from penstock_executor.performing.frame import Frame
from penstock_executor.performing.journal import Journal, Position
from penstock_executor.performing.step_retries import waiting_path
from penstock_executor.runs import StepRecord
from penstock_executor.steps.specs import StepPlan

if TYPE_CHECKING:
    from penstock_executor.performing.attempt import Attempt

T = TypeVar("T")
Results = dict[str | int, JsonValue]
"""What the last step of a block has resulted in, by the block's key."""
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class Suspended(BaseException):
    """The attempt ends and the run waits. Not an Exception, so that `on_error` and authors' code do not catch it.

    `record` is that of the step which waits, to be written when the run waits for it.
    """

    def __init__(self, wait: Wait, record: StepRecord) -> None:
        super().__init__(wait)
        self.wait = wait
        self.record = record

    @property
    def is_listening(self) -> bool:
        """Whether it waits for more than a time."""
        return self.wait.signal is not None or bool(self.wait.awaited)


class Block(NamedTuple):
    """Steps inside a step, to be performed in `frame`. `key` is the item's index, or the branch's name."""

    key: str | int
    steps: tuple[StepPlan, ...]
    frame: Frame

    @property
    def result(self) -> JsonValue:
        """What the last of them has resulted in."""
        return self.frame.results.get(self.steps[-1].definition.id)


class Turns:
    """Whose turn it is, among the blocks of one run that are beside others."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def begin(self) -> None:
        """Wait for a turn."""
        await self._lock.acquire()

    def end(self) -> None:
        """Let another one have it."""
        if self._lock.locked():
            self._lock.release()

    async def pass_on(self, frame: Frame, journal: Journal, work: Awaitable[T]) -> T:
        """Await `work`, which uses nothing that belongs to the whole run; others have their turns meanwhile."""
        if not frame.is_beside:
            return await work
        position, performed = journal.position, journal.performed
        self.end()
        try:
            return await work
        finally:
            await self.begin()
            journal.position, journal.performed = position, performed


class _Failure(NamedTuple):
    """What a step has raised, and which."""

    error: Exception
    position: Position | None
    performed: StepRecord | None


async def perform_beside(
    attempt: "Attempt", blocks: Iterator[Block], at_once: int, frame: Frame, results: Results
) -> None:
    """Perform the blocks, at most `at_once` at a time; `frame` is that of the step they stand in.

    Raises what the first step that failed has raised, or Suspended when some wait and all others have ended.
    """
    if not at_once:
        return
    workers = _Workers(attempt, blocks, results)
    if frame.is_beside:
        attempt.turns.end()
    tasks = [asyncio.create_task(workers.work()) for _ in range(at_once)]
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise
    finally:
        if frame.is_beside:
            await attempt.turns.begin()
    for task in tasks:
        task.result()
    workers.conclude()


class _Workers:
    """Those who perform the blocks, each one after the other, as long as there are any."""

    def __init__(self, attempt: "Attempt", blocks: Iterator[Block], results: Results) -> None:
        self._attempt = attempt
        self._blocks = blocks
        self._results = results
        self._waiting: list[Suspended] = []
        self._failure: _Failure | None = None

    async def work(self) -> None:
        """Perform blocks until there are none, or a step has failed."""
        await self._attempt.turns.begin()
        try:
            for block in self._blocks:
                await self._perform(block)
                if self._failure is not None:
                    break
                await asyncio.sleep(0)
        finally:
            self._attempt.turns.end()

    async def _perform(self, block: Block) -> None:
        journal = self._attempt.journal
        try:
            for step in block.steps:
                if self._failure is not None:
                    return
                await self._attempt.perform_step(step, block.frame)
        except Suspended as suspended:
            self._waiting.append(suspended)
        except Exception as error:
            if self._failure is None:
                self._failure = _Failure(error, journal.position, journal.performed)
        else:
            self._results[block.key] = block.result

    def conclude(self) -> None:
        """Raise what a step has raised, or the wait that is over first."""
        journal = self._attempt.journal
        if self._failure is not None:
            journal.position, journal.performed = self._failure.position, self._failure.performed
            raise self._failure.error
        if self._waiting:
            raise self._choose()

    def _choose(self) -> Suspended:
        """What the run waits for. Raises Permanent when there are several signals, or ends of runs."""
        first, *others = sorted(self._waiting, key=lambda one: (not one.is_listening, one.wait.until or _NEVER))
        if any(other.is_listening for other in others):
            steps = " and ".join(one.wait.step for one in self._waiting if one.is_listening)
            raise Permanent(
                f"{steps} cannot wait at the same time: of the branches of a run, one may wait for a signal or for "
                "runs. Schedule a workflow for each, and wait for those runs",
                kind="arguments",
            )
        for other in others:
            self._note(other)
        until = min((other.wait.until or _NEVER for other in others), default=_NEVER)
        if until < (first.wait.until or _NEVER):
            self._note(first)
            first = Suspended(replace(first.wait, until=until, is_early=True), first.record)
        return first

    def _note(self, suspended: Suspended) -> None:
        """Remember until when something waits that the run does not wait for now."""
        until, record = suspended.wait.until, suspended.record
        path = waiting_path(suspended.wait.step)
        if until is not None and path not in self._attempt.finished:
            noted = StepRecord(path, record.action, "succeeded", record.started_at, until.isoformat())
            self._attempt.journal.record(noted)
