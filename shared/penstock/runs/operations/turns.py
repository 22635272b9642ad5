"""One turn at an operation: a batch of runs, and the operation's counts, in one transaction."""

from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

from penstock.db import Connection, Database
from penstock.domain.dead_letters import LetterChoice, LetterVerb
from penstock.domain.deliveries import DeliveryFilter
from penstock.domain.runs import Admission, Rejected, RunSummary
from penstock.domain.schedule import ScheduleFilter
from penstock.errors import PenstockError, StaleDefinitions
from penstock.logs import get_logger
from penstock.runs.cancellations import Retry, cancel_runs, retry_runs
from penstock.runs.dead_letters import LetterAct, handle_letters
from penstock.runs.keyed import find_keyed_runs
from penstock.runs.mending import mend_run
from penstock.runs.operations.items import find_items
from penstock.runs.operations.matching import list_failed, list_live, list_next_failed, list_upcoming
from penstock.runs.operations.replaying import replay_batch
from penstock.runs.operations.rows import (
    KeyChoice,
    Operation,
    OperationKind,
    Progress,
    RetryChoice,
    note_failure,
    note_progress,
    operation_from_row,
)
from penstock.runs.schedule.interventions import end_lists
from penstock.runs.views.dead_letters import list_open_letters
from penstock.runs.views.finding import RunFilter
from penstock.store.logs import Subject, error_line, write_logs

log = get_logger(__name__)

BATCH: Final = 1000
"""Runs, or dead letters, of one turn."""
MENDED: Final = 100
"""Runs of one turn that are retried with what was mended: each is looked at by itself."""
_VERBS: Final = {
    OperationKind.RETRY_LETTERS: LetterVerb.RETRY,
    OperationKind.DISCARD_LETTERS: LetterVerb.DISCARD,
    OperationKind.RESOLVE_LETTERS: LetterVerb.RESOLVE,
}


class Turn(NamedTuple):
    """The operation after a turn, the runs that it cancelled, or made due now, and what became of those of replays.
    `rests`: the next turn has nothing to do before something that is on its way arrives.
    """

    operation: Operation
    cancelled: Sequence[RunSummary] = ()
    retried: Sequence[RunSummary] = ()
    admissions: Sequence[Admission] = ()
    rests: bool = False


async def take_turn_of(database: Database, id: UUID) -> Turn | None:
    """Take a turn in a transaction of its own. One that fails is noted on the operation and logged, and counts as none;
    raises PenstockError, such as DatabaseUnavailable, when it is not the operation's fault.
    """
    try:
        return await database.in_transaction(partial(take_turn, id=id))
    except StaleDefinitions:
        return None  # somebody deployed meanwhile; the next turn takes the same batch
    except PenstockError:
        raise
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        log.error("operation.turn_failed", operation_id=str(id), error=message, exc_info=error)
        await database.in_transaction(partial(note_failure, id=id, error=message))
        return None


async def take_turn(conn: Connection, *, id: UUID) -> Turn | None:
    """Deal with the next batch; None when the operation is over, or somebody else has it in hand. To be called in a
    transaction.
    """
    row = await conn.fetchrow(
        "SELECT * FROM penstock.operations WHERE id = $1 AND state = 'running' FOR UPDATE SKIP LOCKED", id
    )
    if row is None:
        return None
    operation = operation_from_row(row)
    if isinstance(operation.of, DeliveryFilter):
        return await _replay(conn, operation, operation.of)
    if isinstance(operation.of, LetterChoice):
        return await _handle_letters(conn, operation, operation.of)
    if isinstance(operation.of, RetryChoice):
        return await _mend(conn, operation, operation.of)
    if isinstance(operation.of, KeyChoice):
        return await _cancel_keyed(conn, operation, operation.of)
    if isinstance(operation.of, RunFilter) and operation.of.list_id is not None:
        return await _deal_with_items(conn, operation, operation.of.list_id)
    items = 0
    if isinstance(operation.of, ScheduleFilter):
        # First, and every time: the runs of a chunk that was being expanded can be cancelled afterwards.
        items = await end_lists(conn, of=operation.of)
    found = await _find(conn, operation, operation.of)
    deal = retry_runs if operation.kind is OperationKind.RETRY_RUNS else cancel_runs
    runs = await deal(conn, environment=operation.environment, run_ids=found, by=operation.asked_by) if found else []
    progress = Progress(len(runs), items, is_over=len(found) < BATCH)
    updated = await note_progress(conn, id=id, progress=progress)
    is_retry = operation.kind is OperationKind.RETRY_RUNS
    return Turn(updated, () if is_retry else runs, runs if is_retry else ())


async def _deal_with_items(conn: Connection, operation: Operation, list_id: UUID) -> Turn:
    environment, is_retry = operation.environment, operation.kind is OperationKind.RETRY_RUNS
    found = await find_items(
        conn, environment=environment, list_id=list_id, is_retry=is_retry, position=operation.position, most=BATCH
    )
    deal = retry_runs if is_retry else cancel_runs
    runs = await deal(conn, environment=environment, run_ids=found.run_ids, by=operation.asked_by)
    progress = Progress(len(runs), is_over=found.is_last, position=found.position)
    updated = await note_progress(conn, id=operation.id, progress=progress)
    return Turn(updated, () if is_retry else runs, runs if is_retry else ())


async def _replay(conn: Connection, operation: Operation, of: DeliveryFilter) -> Turn:
    batch = await replay_batch(
        conn, of, operation_id=operation.id, before=operation.created_at, reached=operation.reached
    )
    progress = Progress(batch.replayed, is_over=batch.is_last, reached=batch.reached)
    return Turn(await note_progress(conn, id=operation.id, progress=progress), admissions=batch.admissions)


async def _handle_letters(conn: Connection, operation: Operation, of: LetterChoice) -> Turn:
    found = await list_open_letters(conn, of.of, before=operation.created_at, reached=operation.reached, most=BATCH)
    act = LetterAct(_VERBS[operation.kind], operation.actor, operation.asked_by, of.note)
    handled = await handle_letters(conn, act, environment=of.environment, ids=[id for _, id in found])
    reached = found[-1] if found else operation.reached
    progress = Progress(len(handled.ids), is_over=len(found) < BATCH, reached=reached)
    return Turn(await note_progress(conn, id=operation.id, progress=progress), retried=handled.runs)


async def _mend(conn: Connection, operation: Operation, of: RetryChoice) -> Turn:
    """Runs that the mending does not fit stay failed, and their log says why."""
    assert of.environment is not None, "an operation belongs to one environment"
    found = await list_next_failed(conn, of.of, before=operation.created_at, reached=operation.reached, most=MENDED)
    asked, retried = Retry(operation.asked_by, is_dispatched=False), list[RunSummary]()
    for _, run_id in found:
        done = await mend_run(conn, environment=of.environment, run_id=run_id, mending=of.mending, asked=asked)
        if isinstance(done, RunSummary):
            retried.append(done)
        elif isinstance(done, Rejected):
            subject = Subject(of.environment, of.of.workflow, run_id)
            await write_logs(conn, [error_line(subject, f"not retried: {done.message}", {"kind": done.code})])
    reached = found[-1] if found else operation.reached
    progress = Progress(len(retried), is_over=len(found) < MENDED, reached=reached)
    return Turn(await note_progress(conn, id=operation.id, progress=progress), retried=retried)


async def _cancel_keyed(conn: Connection, operation: Operation, of: KeyChoice) -> Turn:
    """A run that is on its way to a scheduler is waited for: it would be performed after its cancellation."""
    found = await find_keyed_runs(conn, environment=of.environment, workflow=of.workflow, key=of.key)
    runs = await cancel_runs(conn, environment=of.environment, run_ids=found.live, by=operation.asked_by)
    progress = Progress(len(runs), is_over=not found.is_more_expected)
    updated = await note_progress(conn, id=operation.id, progress=progress)
    return Turn(updated, cancelled=runs, rests=found.is_more_expected)


async def _find(conn: Connection, operation: Operation, of: RunFilter | ScheduleFilter) -> list[UUID]:
    before = operation.created_at
    if isinstance(of, ScheduleFilter):
        return await list_upcoming(conn, of, before=before, most=BATCH)
    find = list_failed if operation.kind is OperationKind.RETRY_RUNS else list_live
    return await find(conn, of, before=before, most=BATCH)
