"""Lists that have ended start what was to follow (`then`), once: the id of the run derives from the list's.

The transaction that finishes a list notes that its follower is due; another one admits the run and notes that. So it
starts though a scheduler dies in between, and a list that was opened again by a retry does not start it a second time.
"""

from functools import partial

from penstock.db import Connection
from penstock.domain.runs import Admission, Rejected
from penstock.domain.states import Trigger
from penstock.errors import PenstockError, Permanent
from penstock.redaction import describe
from penstock.runs.followers import follower_run_id
from penstock.runs.requests import RunRequest
from penstock.runtime import Counts
from penstock.store.deployments import CompiledDeployment
from penstock.store.logs import Subject, error_line, write_logs
from penstock_scheduler.admitting.taking import admit_taken
from penstock_scheduler.repository import followers as repository
from penstock_scheduler.repository.followers import EndedList
from penstock_scheduler.room import Room


async def start_followers(room: Room) -> Counts:
    """Start what follows the lists that have ended, until other schedulers hold all that are left."""
    started = 0
    while not room.stop.soft.is_set() and await _start_next(room):
        started += 1
    return Counts({"started": started})


async def _start_next(room: Room) -> bool:
    """Start one; whether there was one."""
    held: list[EndedList] = []

    async def work(deployments: dict[str, CompiledDeployment], is_newest: bool) -> Admission | None:
        start = partial(_start, held=held, deployments=deployments, is_newest=is_newest)
        return await room.database.in_transaction(start)

    try:
        outcome = await room.admissions.with_current(work)
    except PenstockError:
        raise
    except Exception as error:  # else it would be taken again and again, before all others
        refused = Rejected("unstorable", f"its run cannot be stored: {describe(error)}")
        await room.database.in_transaction(partial(_refuse, ended=held[0], refused=refused))
        return True
    if outcome is not None and not isinstance(outcome, Rejected):
        await room.admissions.tell([outcome])
    return outcome is not None


async def _start(
    conn: Connection, *, held: list[EndedList], deployments: dict[str, CompiledDeployment], is_newest: bool
) -> Admission | None:
    """Take one list and admit what follows it. Raises StaleDefinitions."""
    ended = await repository.take_ended_list(conn)
    if ended is None:
        return None
    held[:] = [ended]
    try:
        parameters = await ended.follower.make_parameters(ended.counts)
    except Permanent as error:
        outcome: Admission = Rejected(error.kind, str(error))
    else:
        wanted = RunRequest(
            run_id=follower_run_id(ended.id),
            environment=ended.environment,
            workflow=ended.follower.workflow,
            parameters=parameters,
            trigger=Trigger.MANUAL if ended.lineage.parent_run_id is None else Trigger.RUN,
            lineage=ended.lineage,
        )
        (outcome,) = await admit_taken(conn, [wanted], deployments, is_newest=is_newest)
    if isinstance(outcome, Rejected):
        await _refuse(conn, ended=ended, refused=outcome)
    else:
        await repository.note_follower(conn, list_id=ended.id, state="started")
    return outcome


async def _refuse(conn: Connection, *, ended: EndedList, refused: Rejected) -> None:
    await repository.note_follower(conn, list_id=ended.id, state="refused")
    message = f"{ended.follower.workflow}, which was to follow list {ended.id}, cannot start: {refused.message}"
    of = Subject(ended.environment, ended.follower.workflow, ended.lineage.parent_run_id)
    await write_logs(conn, [error_line(of, message, {"kind": refused.code, "list_id": str(ended.id)})])
