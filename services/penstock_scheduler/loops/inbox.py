"""Runs that services ask for in transactions of their own (`SELECT penstock.schedule(…)`), admitted once committed.

The row is taken in the transaction that admits its run, so each request makes one run, however many schedulers there
are and wherever one dies. What cannot be admitted is a Workflow error in the log and makes way for the others.
"""

import hashlib
from functools import partial
from typing import Final

import orjson

from penstock import exact_json
from penstock.db import Connection, isolate
from penstock.domain.ids import recurrence_id, tick_run_id
from penstock.domain.lineage import Lineage
from penstock.domain.runs import Admission, Rejected
from penstock.domain.states import Trigger
from penstock.errors import PenstockError
from penstock.logs import get_logger
from penstock.runs.idempotency import IdempotencyKey
from penstock.runs.requests import RunRequest
from penstock.runtime import Counts
from penstock.store.deployments import CompiledDeployment
from penstock.store.logs import write_logs
from penstock_scheduler.admitting.taking import admit_taken, describe_refusals, refusal_line
from penstock_scheduler.repository.inbox import InboxRequest, has_inbox, list_inbox, take_inbox
from penstock_scheduler.room import Room

log = get_logger(__name__)

BATCH: Final = 500
KEY_SCOPE: Final = "inbox"
_ORIGIN: Final = " for penstock.schedule()"


async def admit_inbox(room: Room) -> Counts:
    """Admit what waits in the inbox."""
    async with room.database.connection() as conn:
        if not await has_inbox(conn):
            return Counts({"requests": 0})
    taken = 0
    while not room.stop.soft.is_set():
        outcomes = await _take_turn(room)
        taken += outcomes
        if outcomes < BATCH:
            break
    return Counts({"requests": taken})


async def _take_turn(room: Room) -> int:
    try:
        return await _take(room)
    except PenstockError:
        raise
    except Exception as error:
        log.error("inbox.batch_failed", error=f"{type(error).__name__}: {error}")
    return await _take_apart(room)


async def _take_apart(room: Room) -> int:
    """Admit requests without those that cannot be stored; these are reported, and dropped."""
    async with room.database.connection() as conn:
        ids = await list_inbox(conn, most=BATCH)

    async def take(some: list[int]) -> list[None]:
        await _take(room, only=some)
        return [None] * len(some)

    for id, failure in zip(ids, await isolate(ids, take), strict=True):
        if isinstance(failure, PenstockError) or not isinstance(failure, Exception | None):
            raise failure
        if failure is not None:
            await room.database.in_transaction(partial(_drop, id=id, reason=f"{type(failure).__name__}: {failure}"))
    return len(ids)


async def _take(room: Room, *, only: list[int] | None = None) -> int:
    async def work(deployments: dict[str, CompiledDeployment], is_newest: bool) -> list[Admission]:
        admit = partial(_admit, room=room, deployments=deployments, is_newest=is_newest, only=only)
        return await room.database.in_transaction(admit)

    outcomes = await room.admissions.with_current(work)
    await room.admissions.tell([outcome for outcome in outcomes if not isinstance(outcome, Rejected)])
    return len(outcomes)


async def _admit(
    conn: Connection, *, room: Room, deployments: dict[str, CompiledDeployment], is_newest: bool, only: list[int] | None
) -> list[Admission]:
    """Take requests and admit their runs. Raises StaleDefinitions."""
    requests = [_want(request) for request in await take_inbox(conn, most=BATCH, only=only)]
    outcomes = await admit_taken(conn, requests, deployments, is_newest=is_newest, mark=room.admissions.mark)
    if lines := describe_refusals(requests, outcomes, _ORIGIN):
        await write_logs(conn, lines)
    return outcomes


def _want(asked: InboxRequest) -> RunRequest:
    key = None
    if asked.key is not None:
        content = [asked.workflow, asked.parameters, asked.at, asked.depth]
        document = exact_json.dumps(content, option=orjson.OPT_SORT_KEYS)
        key = IdempotencyKey(KEY_SCOPE, asked.key, hashlib.sha256(document).digest())
    return RunRequest(
        run_id=tick_run_id(recurrence_id(asked.environment, asked.workflow, f"inbox/{asked.id}"), asked.asked_at),
        environment=asked.environment,
        workflow=asked.workflow,
        parameters=asked.parameters,
        trigger=Trigger.MESSAGE,
        lineage=Lineage(depth=asked.depth),
        scheduled_at=None if asked.at is None or asked.at <= asked.asked_at else asked.at,
        key=key,
    )


async def _drop(conn: Connection, *, id: int, reason: str) -> None:
    for request in await take_inbox(conn, most=1, only=[id]):
        what = f"could not be started{_ORIGIN}, request {id}: {reason}"
        await write_logs(conn, [refusal_line(request.environment, request.workflow, what, "unreadable_request")])
