"""Operations on many runs are worked off, batch by batch; `penstock.runs.operations` has the whole story."""

from penstock.domain.states import RunState
from penstock.runs.operations import Turn, delete_old_operations, list_running, take_turn_of
from penstock.runtime import Counts
from penstock_scheduler.room import Room


async def work_off_operations(room: Room) -> Counts:
    """Take one turn at each; the next follows at once while there is more to do."""
    async with room.database.connection() as conn:
        running = await list_running(conn)
    cancelled = retried = replayed = 0
    is_more = False
    for id in running:
        turn = await take_turn_of(room.database, id)
        if turn is None:
            continue
        _announce(room, turn)
        cancelled, retried = cancelled + len(turn.cancelled), retried + len(turn.retried)
        replayed += len(turn.admissions)
        is_more |= not turn.operation.is_over and not turn.rests
    return Counts({"cancelled": cancelled, "retried": retried, "replayed": replayed}, 0.0 if is_more else None)


def _announce(room: Room, turn: Turn) -> None:
    for run in turn.cancelled:
        room.publisher.run_event(RunState.CANCELLED.value, run, reason=f"cancelled by {turn.operation.asked_by}")
    room.publisher.announce(turn.admissions)
    if turn.retried or turn.admissions:
        room.nudges.look_for_due()


async def forget_operations(room: Room) -> Counts:
    """Delete operations that were over long ago."""
    async with room.database.connection() as conn:
        return Counts({"operations": await delete_old_operations(conn)})
