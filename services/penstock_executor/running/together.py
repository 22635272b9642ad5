"""Many runs in one task: those of workflows whose steps are all brief, which is most of the work of many apps.

A brief step waits for nobody, so a run of brief steps is performed in one go. What a task, futures and a commit of its
own would cost such a run is more than what its steps cost. The steps are the very same code as of a run that is alone,
and so is what happens when one fails; only who waits for the commit differs: one task for all.

*Guarantees* are those of a run that is alone: an ending and its effect are written together, guarded by the attempt; a
run whose data is refused, or whose commit nobody knows the outcome of, continues in a task of its own; a lease that was
lost writes nothing. *When a step waits after all* (an expression is so heavy that it is evaluated in another process),
its run continues in a task of its own, from where it is. *When this executor dies*, the leases bring the runs back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

from penstock.logs import get_logger, log_about
from penstock.tracing import active
from penstock_executor.holding.leases import Lease
from penstock_executor.performing.attempt import Attempt
from penstock_executor.performing.outcome import Ended, announce, as_written, write_again
from penstock_executor.planning.plans import Plans
from penstock_executor.room import Room
from penstock_executor.running.alone import (
    announce_starts,
    finish_alone,
    give_back_early,
    perform,
    perform_alone,
    record,
)
from penstock_executor.runs import ClaimedRun, Commit, Ending

log = get_logger(__name__)

_TURN_SECONDS: Final = 0.005
"""After which others have their turn, in the midst of a batch."""
_Work = Coroutine[object, None, Ending | None]
_Finish = Callable[[], Awaitable[Ending | None]]


class _Performed(NamedTuple):
    """A run whose steps are done and whose ending is to be written."""

    attempt: Attempt
    commit: Commit
    ending: Ending
    began: float


async def load_plans(room: Room, runs: Sequence[ClaimedRun]) -> None:
    """Have the plans of all runs at hand, as far as they can be loaded; a run without them reports that by itself."""
    for environment, version in {(run.environment, run.version) for run in runs}:
        if room.library.known_plans(environment, version) is None:
            with suppress(Exception):
                await room.library.find_plans(environment, version)


def begin_runs(room: Room, leases: Sequence[Lease]) -> None:
    """Perform runs that were claimed: those whose workflows are brief together, each other in a task of its own."""
    together: list[tuple[Lease, Plans]] = []
    known: dict[tuple[str, int, str], Plans | None] = {}
    for lease in leases:
        kind = lease.run.environment, lease.run.version, lease.run.workflow
        if kind not in known:
            known[kind] = _find_brief(room, lease.run)
        plans = known[kind]
        if plans is None:
            lease.task = room.spawn(perform_alone(room, lease))
        else:
            together.append((lease, plans))
    if together:
        _ = room.spawn(_perform_together(room, together))


def _find_brief(room: Room, run: ClaimedRun) -> Plans | None:
    """The plans of a run that can be performed with others; None for one that cannot, is not loaded yet, or is traced:
    a span belongs to a task.
    """
    if active() is not None:
        return None
    plans = room.library.known_plans(run.environment, run.version)
    return plans if plans is not None and plans.is_brief(run.workflow) else None


async def _perform_together(room: Room, runs: Sequence[tuple[Lease, Plans]]) -> None:
    held = {lease.run.id: lease for lease, _ in runs}
    try:
        performed = await _perform_all(room, runs, held)
        await _write_all(room, performed, held, lane=runs[0][0].lane)
    except Exception as error:
        # As for a run that is alone: their leases expire, and a scheduler takes them back.
        log.error("run.crashed", runs=[str(run_id) for run_id in held], exc_info=error)
    finally:
        for lease in held.values():
            room.leases.end(lease)
        room.give_back_slots(held.values())


async def _write_all(room: Room, performed: Sequence[_Performed], held: dict[UUID, Lease], *, lane: str) -> None:
    """Write the endings, and announce them; those that could not be written continue alone."""
    for one in performed:
        one.attempt.lease.is_ending = True
    give_back_early(room, [one.attempt.lease for one in performed])
    written = await room.commits.commit_all([one.commit for one in performed], lane)
    now, ended = asyncio.get_running_loop().time(), list[Ended]()
    for one, result in zip(performed, written, strict=True):
        lease = one.attempt.lease
        if isinstance(result, BaseException):
            del held[lease.run.id]
            _continue_alone(room, lease, partial(write_again, one.attempt, one.commit, result), one.began)
        else:
            one.attempt.journal.settle(one.commit)
            ended.append(Ended(lease, as_written(one.ending, result), now - one.began))
    announce(room, ended)


async def _perform_all(room: Room, runs: Sequence[tuple[Lease, Plans]], held: dict[UUID, Lease]) -> list[_Performed]:
    """Perform the steps of all; those that continue alone are no longer `held`."""
    announce_starts(room, [lease.run for lease, _ in runs if not lease.is_lost])
    loop, performed = asyncio.get_running_loop(), list[_Performed]()
    began = loop.time()
    turn_ends = began + _TURN_SECONDS
    for lease, plans in runs:
        if began > turn_ends:
            await asyncio.sleep(0)
            began = loop.time()
            turn_ends = began + _TURN_SECONDS
        if not lease.is_lost:
            log_about(lease.run.log_fields)
            one = _perform(room, lease, plans, began)
            if isinstance(one, _Performed):
                performed.append(one)
            elif one is not None:
                del held[lease.run.id]
                _continue_alone(room, lease, one, began)
        began = loop.time()
    return performed


def _perform(room: Room, lease: Lease, plans: Plans, began: float) -> _Performed | _Finish | None:
    """Perform the steps of one run, without waiting; None when it is no longer ours. Otherwise what is left to do."""
    try:
        attempt = Attempt(room, lease, plans)
        work = perform(attempt)
        try:
            waits_for = work.send(None)
        except StopIteration as done:
            ending: Ending | None = done.value
            return None if ending is None else _Performed(attempt, attempt.journal.draw_up(ending), ending, began)
        return partial(record, attempt, _Begun(work, waits_for))
    except Exception as error:
        return partial(_raise, error)


def _continue_alone(room: Room, lease: Lease, finish: _Finish, began: float) -> None:
    log_about(lease.run.log_fields)  # the task gets a copy of this
    lease.task = room.spawn(finish_alone(room, lease, finish, began))


async def _raise(error: Exception) -> Ending | None:
    raise error


class _Begun:
    """Work that was begun outside of a task, and waits for something; awaiting it continues the work.

    Brief steps wait for futures only, never for a timeout: that would end the task it was begun in.
    """

    def __init__(self, work: _Work, waits_for: object) -> None:
        self._work = work
        self._waits_for = waits_for

    def __await__(self) -> Generator[object, None, Ending | None]:
        waits_for = self._waits_for
        while True:
            try:
                yield waits_for
            except BaseException as error:
                proceed = partial(self._work.throw, error)
            else:
                proceed = partial(self._work.send, None)
            try:
                waits_for = proceed()
            except StopIteration as done:
                ending: Ending | None = done.value
                return ending
