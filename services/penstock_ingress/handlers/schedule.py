"""The verbs of the management API about what is coming: look at it, cancel it, move it, pause and resume it."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final
from uuid import UUID

from penstock.domain.runs import RunSummary
from penstock.domain.schedule import ScheduleFilter
from penstock.domain.states import RunState
from penstock.runs.schedule import pauses
from penstock.runs.schedule.interventions import (
    cancel_entry,
    move_run,
)
from penstock.runs.schedule.pauses import lift_pauses, list_pauses, pause_schedule
from penstock.runs.views.models import Run
from penstock.runs.views.runs import find_run
from penstock.runs.views.schedule import list_schedule
from penstock_ingress.handlers.pages import read_limit, read_schedule_filter, read_schedule_token
from penstock_ingress.repository.views import CancelledSchedule, Pause, PausePage, Resumed, SchedulePage
from penstock_ingress.room import Room
from penstock_ingress.rules.management import Move, NewPause, Resumption
from penstock_ingress.rules.replies import Refusal, problem

_BY: Final = "the management API"
Query = Mapping[str, str]


async def show_schedule(room: Room, environment: str, query: Query) -> SchedulePage:
    """What is coming, in order. Raises Refusal."""
    wanted, after, limit = read_schedule_filter(environment, query), read_schedule_token(query), read_limit(query)
    async with room.database.connection() as conn:
        page = await list_schedule(conn, wanted, after=after, limit=limit)
    return SchedulePage(results=page.results, after=page.after.write() if page.after else None)


async def cancel_one(room: Room, environment: str, id: UUID, actor: str) -> CancelledSchedule:
    """Cancel a run that waits for its time, pass over the next tick of a recurrence, or give up the rest of a list.
    Raises Refusal.
    """
    done = await room.database.in_transaction(
        partial(cancel_entry, environment=environment, id=id, by=_BY, actor=actor)
    )
    if done is None:
        async with room.database.connection() as conn:
            run = await find_run(conn, run_id=id, environment=environment)
        if run is not None:
            raise _not_coming(run)
        raise Refusal(problem(404, f"nothing with the id {id} is coming in {environment}"))
    _report(room, done.runs)
    return CancelledSchedule(cancelled=len(done.runs) + done.ticks, items=done.items)


async def move(room: Room, environment: str, id: UUID, wanted: Move, actor: str) -> Run:
    """Move a run to another time. Raises Refusal for one that does not wait for a time."""
    moved = await room.database.in_transaction(
        partial(move_run, environment=environment, run_id=id, to=wanted.to(), by=_BY, actor=actor)
    )
    async with room.database.connection() as conn:
        run = await find_run(conn, run_id=id, environment=environment)
    if moved is None or run is None:
        raise Refusal(problem(404, f"{environment} has no run {id}"))
    if not moved[1]:
        raise _not_coming(run)
    return run.plain


async def show_pauses(room: Room, environment: str) -> PausePage:
    """The pauses that are in force."""
    async with room.database.connection() as conn:
        found = await list_pauses(conn, environment=environment)
    return PausePage(results=[show_pause(pause) for pause in found], after=None)


async def pause(room: Room, environment: str, wanted: NewPause, actor: str) -> Pause:
    """Start nothing that matches until it is resumed; the same pause again changes nothing."""
    work = partial(pause_schedule, of=wanted.of(environment), note=wanted.note, actor=actor)
    return show_pause(await room.database.in_transaction(work))


async def resume(room: Room, environment: str, wanted: Resumption, actor: str) -> Resumed:
    """Lift a pause. Raises Refusal when there is none of exactly that filter."""
    of = wanted.of(environment)
    lifted = await room.database.in_transaction(
        partial(lift_pauses, of=of, missed=wanted.missed, is_all=wanted.all, actor=actor),
    )
    if not lifted and not wanted.all:
        raise Refusal(problem(404, await _describe_missing(room, of)))
    return Resumed(resumed=[show_pause(pause) for pause in lifted], missed=wanted.missed)


async def _describe_missing(room: Room, of: ScheduleFilter) -> str:
    async with room.database.connection() as conn:
        count = len(await list_pauses(conn, environment=of.environment))
    others = f"; there are {count} others, see GET schedule/pauses, or send all: true" if count else ""
    return f"{of.environment} has no pause of exactly this filter{others}"


def _not_coming(run: Run) -> Refusal:
    detail = f"run {run.id} is {run.state}, and waits for no time"
    return Refusal(problem(409, detail, extensions={"code": "not_coming", "state": run.state.value}))


def _report(room: Room, runs: Sequence[RunSummary]) -> None:
    for run in runs:
        room.publisher.run_event(RunState.CANCELLED.value, run, reason=f"cancelled by {_BY}")


def show_pause(of: pauses.Pause) -> Pause:
    """A pause as it is shown."""
    return Pause(
        id=of.id,
        environment=of.of.environment,
        workflow=of.of.workflow,
        chain=of.of.chain_id,
        list=of.of.list_id,
        since=of.of.since,
        until=of.of.until,
        note=of.note,
        paused_at=of.paused_at,
    )
