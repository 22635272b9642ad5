"""Runs whose wait is over are queued and handed to executors; see `penstock.runs.waits_and_signals`."""

from penstock.db import Connection
from penstock.runs.waits_and_signals import forget_waits, wake_runs
from penstock.runtime import Counts
from penstock_scheduler.loops.dispatching import BATCH, Due, end_stopped, hand_on
from penstock_scheduler.repository import waits as repository
from penstock_scheduler.room import Room


async def wake_waiting(room: Room) -> Counts:
    """Queue and dispatch runs whose wait is over; terminate those of stopped chains. Rests until the next is due."""
    return await hand_on(room, "woken", _wake, repository.find_next_wake)


async def _wake(conn: Connection) -> Due:
    due = await repository.lock_due_waits(conn, most=BATCH)
    stopped = [run_id for run_id, is_stopped, _ in due if is_stopped]
    paused = [run_id for run_id, is_stopped, is_paused in due if is_paused and not is_stopped]
    going_on = [run_id for run_id, is_stopped, is_paused in due if not is_stopped and not is_paused]
    due_runs = Due([], {}, len(paused))
    if paused:
        await repository.park_waits(conn, run_ids=paused)
    if stopped:
        await forget_waits(conn, run_ids=stopped)
        due_runs.ended = await end_stopped(conn, await repository.terminate_waiting(conn, run_ids=stopped))
    if going_on:
        due_runs.queued = await wake_runs(conn, run_ids=going_on, is_time_over=True)
    return due_runs
