"""The admins are notified when workload reaches a threshold: each once in its period, however many schedulers look.

The row that notes the warning decides: who inserts it logs it and publishes the event, and mail is sent from it as of a
terminated run.
"""

from datetime import timedelta
from functools import partial
from typing import Final

from pydantic import JsonValue

from penstock import clock
from penstock.contracts.messages import WorkloadEvent
from penstock.db import Connection
from penstock.domain.notices import NoticeKind
from penstock.domain.thresholds import WorkloadWarning, find_warnings
from penstock.domain.workload import shown_units
from penstock.logs import get_logger
from penstock.runtime import Counts
from penstock.store.logs import LogEvent, LogLine, write_logs
from penstock.store.notices import Notice, request_notices
from penstock_scheduler import rules
from penstock_scheduler.repository import workload as repository
from penstock_scheduler.room import Room

log = get_logger(__name__)

LIFETIME: Final = timedelta(days=400)
_MAX_DELETED: Final = 10_000


async def flush_workload(room: Room) -> Counts:
    """Write what this scheduler has metered."""
    await room.meter.flush()
    return Counts()


async def delete_old_workload(room: Room) -> Counts:
    """Forget the sums of hours that nobody looks at any more."""
    async with room.database.connection() as conn:
        return Counts({"sums": await repository.delete_old_workload(conn, older_than=LIFETIME, most=_MAX_DELETED)})


async def watch_workload(room: Room) -> Counts:
    """Look at the sums of every environment, and give the warnings that were not given before."""
    async with room.database.connection() as conn:
        readings = await repository.read_workload(conn)
    given = 0
    for reading in readings:
        for warning in find_warnings(reading):
            given += await _give(room, reading.environment, warning)
    return Counts({"warned": given})


async def _give(room: Room, environment: str, warning: WorkloadWarning) -> bool:
    if not await room.database.in_transaction(partial(_note, environment=environment, warning=warning)):
        return False
    units, limit = shown_units(warning.units), shown_units(warning.limit)
    log.warning("workload.warned", environment=environment, threshold=warning.threshold, units=units, limit=limit)
    event = WorkloadEvent.model_construct(
        environment=environment,
        threshold=warning.threshold,
        units=units,
        limit=limit,
        since=warning.since,
        at=clock.now(),
    )
    room.publisher.event(f"{environment}.workload.warned", event)
    return True


async def _note(conn: Connection, *, environment: str, warning: WorkloadWarning) -> bool:
    message = rules.describe_warning(environment, warning)
    details: dict[str, JsonValue] = {
        "message": message,
        "units": shown_units(warning.units),
        "limit": shown_units(warning.limit),
    }
    is_new = await repository.note_warning(
        conn,
        environment=environment,
        threshold=warning.threshold,
        period=warning.since.date(),
        details=details,
    )
    if is_new:
        line = LogLine(
            clock.now(),
            environment,
            "warning",
            LogEvent.WORKLOAD_WARNED,
            message,
            details={"kind": warning.threshold, **details},
        )
        await write_logs(conn, [line])
    if is_new and warning.is_told:
        await request_notices(
            conn,
            [Notice(environment, NoticeKind.WORKLOAD, {**details, "message": f"{message}."}, 1, warning.threshold)],
        )
    return is_new
