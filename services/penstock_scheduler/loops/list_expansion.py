"""Stored lists become runs, chunk by chunk, each with its runs in one transaction: a crash neither repeats nor loses
any.

Several chunks of a list are expanded at once; one after the other where the workflow has a `sequence`, whose lines are
in the order of admission.

The run of item i has an id derived from the list's, so even a chunk admitted twice would make each run once. A list
whose items no longer fit the workflow fails; runs it has made continue. One whose runs have all ended is finished; it
is open again when a resume or a retry takes some of them up.

Items do not become runs long before executors take them: while thousands of due runs of a list wait, its next chunks
stay as they are. A list of a million then is a few thousand rows at a time, and filling the database with the others
does not compete with the work.

A sequential list moves on by one item when the run that was let start last, its holder, has ended. Items of it that are
taken up again, be it a thousand at once, stand in a line (`penstock.list_line`): a trigger of the database puts them
there. The first of the line is let start when the holder has ended; new items follow when the line is empty. Who lets
one start holds a lock of the list meanwhile. The rows are the truth, so a scheduler that dies harms nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock import clock
from penstock.contracts.messages import ListEvent
from penstock.db import Connection
from penstock.domain.ids import child_run_id
from penstock.domain.runs import Admission, Rejected, RunSummary, Terminated
from penstock.domain.states import Trigger
from penstock.errors import PenstockError, StaleDefinitions
from penstock.runs.joins import mark_done, wake_joined
from penstock.runs.requests import RunRequest
from penstock.runtime import Counts
from penstock.store.deployments import CompiledDeployment
from penstock.store.logs import Subject, error_line, write_logs
from penstock_scheduler.admitting.admissions import admit_prepared, prepare_all
from penstock_scheduler.repository import lists as repository
from penstock_scheduler.repository.lists import FinishedList
from penstock_scheduler.room import Room
from penstock_scheduler.runs import Chunk, Position

LARGE_LIST: Final = 1000
"""Items of a list behind this many others take turns with the runs of others."""
_SOON_SECONDS: Final = 0.25
Claim = Callable[[Connection], Awaitable[Chunk | None]]
Deployments = dict[str, CompiledDeployment]

_IN_FLIGHT: Final = 2
"""Chunks expanded at once: while the runs of one are inserted, the items of the next are checked, or the runs of the
one before are handed to the executors.
"""


class _OutOfTurn(Exception):
    """The chunk before is not admitted yet, and the items of both are to stand in one line."""


async def expand_lists(room: Room) -> Counts:
    """Expand chunks until others hold all that are left, or enough runs wait; then note which lists are done."""
    ended = await asyncio.gather(*(_expand_chunks(room) for _ in range(_IN_FLIGHT)), return_exceptions=True)
    admitted = 0
    for runs in ended:
        if isinstance(runs, BaseException):
            raise runs
        admitted += runs
    # Executors may soon have taken what kept the rest from becoming runs.
    wait = _SOON_SECONDS if admitted else None
    return Counts({"admitted": admitted, "closed": await _close_lists(room)}, wait)


async def _expand_chunks(room: Room) -> int:
    """Expand one chunk after the other until none is left that nobody holds; returns how many runs were admitted."""
    runs = 0
    while not room.stop.soft.is_set():
        outcomes = await expand_chunk(room)
        if outcomes is None:
            break
        runs += len(outcomes)
    return runs


async def expand_chunk(room: Room) -> Sequence[Admission] | None:
    """Admit the runs of one chunk and dispatch those that are due; None when there is no chunk to expand."""
    return await _admit_claimed(room, _claim_chunk)


async def advance_sequential(room: Room) -> Counts:
    """Let the next run of each sequential list start whose run before has ended: the first of those that wait to be
    taken up again, or else a new one.
    """
    async with room.database.connection() as conn:
        heads = await repository.list_heads(conn)
        positions = await repository.list_positions(conn)
    released = 0
    for list_id, run_id in heads:
        release = partial(repository.release_head, list_id=list_id, run_id=run_id)
        released += await room.database.in_transaction(release)
    if released:
        room.nudges.look_for_due()
    admitted = 0
    for position in positions:
        admitted += len(await _admit_claimed(room, partial(_claim_item, position=position)) or [])
    if admitted:
        await _close_lists(room, of=[position.list_id for position in positions])
    return Counts({"admitted": admitted, "released": released})


async def _claim_item(conn: Connection, *, position: Position) -> Chunk | None:
    return await repository.claim_item(conn, position=position)


async def _claim_chunk(conn: Connection) -> Chunk | None:
    chunk = await repository.claim_chunk(conn)
    if chunk is not None:
        await repository.finish_chunk(conn, list_id=chunk.of.id, first_index=chunk.first_index)
    return chunk


async def finish_lists(room: Room) -> Counts:
    """Finish lists all of whose runs have ended, and say so: those that were closed after their last run had ended."""
    finished, woken = await room.database.in_transaction(finish_and_wake)
    await announce_finished(room, finished, woken)
    return Counts({"finished": len(finished)})


async def finish_and_wake(
    conn: Connection, *, list_ids: Sequence[UUID] | None = None
) -> tuple[list[FinishedList], list[RunSummary]]:
    """Finish lists, and wake the runs that wait for them."""
    finished = await repository.finish_lists(conn, list_ids=list_ids)
    waiters = await mark_done(conn, awaited=[done.id for done in finished]) if finished else set[UUID]()
    return finished, await wake_joined(conn, waiters=waiters) if waiters else []


async def announce_finished(room: Room, finished: Sequence[FinishedList], woken: Sequence[RunSummary]) -> None:
    """After the commit: publish that lists have finished, and dispatch the runs that have waited for them."""
    for done in finished:
        event = ListEvent.model_construct(
            list_id=done.id, environment=done.environment, workflow=done.workflow, total=done.total,
            succeeded=done.succeeded, failed=done.failed, skipped=done.skipped, cancelled=done.cancelled,
            terminated=done.terminated, at=clock.now(),
        )  # fmt: skip
        room.publisher.event(f"{done.environment}.list.finished", event)
    if any(done.has_follower for done in finished):
        room.nudges.followers.set()
    await room.dispatches.begin(woken)


async def _admit_claimed(room: Room, claim: Claim) -> Sequence[Admission] | None:
    claimed: list[Chunk] = []

    async def claim_and_note(conn: Connection) -> Chunk | None:
        chunk = await claim(conn)
        claimed[:] = [] if chunk is None else [chunk]
        return chunk

    async def expand(deployments: Deployments, is_newest: bool) -> list[Admission] | None:
        return await room.database.in_transaction(
            partial(_expand, claim=claim_and_note, deployments=deployments, is_newest=is_newest),
        )

    try:
        outcomes = await room.admissions.with_current(expand)
    except _OutOfTurn:
        return None
    except PenstockError:
        raise
    except Exception as error:
        # Else this chunk would be claimed first again and again, and no list would ever be expanded.
        for chunk in claimed:
            refused = Rejected("unstorable", f"its runs cannot be stored: {type(error).__name__}: {error}")
            await room.database.in_transaction(partial(_fail, chunk=chunk, offset=0, rejected=refused))
        raise
    if outcomes:
        await room.admissions.tell(outcomes)
        if any(isinstance(outcome, Terminated) for outcome in outcomes):
            room.nudges.ends.set()
    return outcomes


async def _expand(
    conn: Connection, *, claim: Claim, deployments: Deployments, is_newest: bool
) -> list[Admission] | None:
    """Claim a chunk, check its items, admit their runs. Raises StaleDefinitions and _OutOfTurn."""
    chunk = await claim(conn)
    if chunk is None:
        return None
    if _stand_in_line(chunk, deployments) and await repository.has_earlier_chunk(
        conn, list_id=chunk.of.id, first_index=chunk.first_index
    ):
        raise _OutOfTurn
    wanted = [_want(chunk, offset, parameters) for offset, parameters in enumerate(chunk.parameters)]
    prepared = await prepare_all(wanted, deployments)
    if (refused := _find_rejected(prepared)) is not None:
        if not is_newest:
            raise StaleDefinitions(f"{chunk.of.workflow} may have been deployed again")
        await _fail(conn, chunk=chunk, offset=refused[0], rejected=refused[1])
        return []
    outcomes = await admit_prepared(conn, prepared)
    if chunk.of.is_sequential:
        await repository.note_holder(conn, list_id=chunk.of.id, run_id=wanted[0].run_id)
    if (refused := _find_rejected(outcomes)) is not None:
        await _fail(conn, chunk=chunk, offset=refused[0], rejected=refused[1])
    return outcomes


def _stand_in_line(chunk: Chunk, deployments: Deployments) -> bool:
    workflow = deployments[chunk.of.environment].app.workflows.get(chunk.of.workflow)
    return workflow is not None and workflow.flow is not None and "sequence" in workflow.flow.rules


def _find_rejected(outcomes: Sequence[object]) -> tuple[int, Rejected] | None:
    return next(((offset, outcome) for offset, outcome in enumerate(outcomes) if isinstance(outcome, Rejected)), None)


def _want(chunk: Chunk, offset: int, parameters: dict[str, JsonValue]) -> RunRequest:
    index = chunk.first_index + offset
    return RunRequest(
        run_id=child_run_id(chunk.of.id, str(index)),
        environment=chunk.of.environment,
        workflow=chunk.of.workflow,
        parameters=parameters,
        trigger=Trigger.MESSAGE if chunk.of.lineage.parent_run_id is None else Trigger.RUN,
        lineage=chunk.of.lineage,
        scheduled_at=chunk.of.due_at(index),
        priority=chunk.of.priority,
        list_id=chunk.of.id,
        crowd=None if chunk.of.is_sequential or index < LARGE_LIST else chunk.of.id,
    )


async def _fail(conn: Connection, *, chunk: Chunk, offset: int, rejected: Rejected) -> None:
    """Give the list up, and say at which item and why. Chunks expanded before keep their runs."""
    message = (
        f"Workflow error: list {chunk.of.id} of {chunk.of.workflow} failed at item "
        f"{chunk.first_index + offset}: "
        f"{rejected.message}"
    )
    if not await repository.fail_list(conn, list_id=chunk.of.id, error={"kind": rejected.code, "message": message}):
        return
    of = Subject(chunk.of.environment, chunk.of.workflow, chunk.of.lineage.parent_run_id)
    await write_logs(conn, [error_line(of, message, {"kind": rejected.code, "list_id": str(chunk.of.id)})])


async def _close_lists(room: Room, of: Sequence[UUID] | None = None) -> int:
    async with room.database.connection() as conn:
        return await repository.close_expanded_lists(conn, of=of)
