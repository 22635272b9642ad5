"""The verbs of the management API about recurrences."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from multidict import MultiMapping

from penstock.db import Connection
from penstock.domain import recurrences as domain
from penstock.domain.ids import new_run_id
from penstock.domain.runs import Admission, Admitted, Rejected, RunSummary, Terminated
from penstock.domain.states import RunState, Trigger
from penstock.domain.ticks import UTC_ZONE, Rule, check_cron, check_timezone, ticks_after
from penstock.runs.recurrences.control import (
    find_recurrence,
    list_past_ticks,
    list_recurrences,
    make_up_ticks,
    note_started,
    pause_recurrence,
    resume_recurrence,
    start_by_hand,
)
from penstock.runs.recurrences.history import list_ticks
from penstock.runs.recurrences.rows import RecurrenceRequest, get_time, set_recurrence, stop_recurrence
from penstock.runs.requests import RunRequest, check_run
from penstock.runs.views.models import Run
from penstock.runs.views.runs import find_run
from penstock.store.audit import Act, AuditAction, note_acts
from penstock.store.deployments import CompiledDeployment
from penstock_ingress.handlers.lineage import find_lineage
from penstock_ingress.handlers.management import refuse
from penstock_ingress.handlers.pages import (
    read_count,
    read_limit,
    read_recurrence_token,
    read_text,
    read_tick_token,
    write_token,
)
from penstock_ingress.repository.views import (
    Backfilled,
    NextTicks,
    Recurrence,
    RecurrencePage,
    RecurrenceRun,
    RecurrenceTick,
    RecurrenceTickPage,
)
from penstock_ingress.room import Room
from penstock_ingress.rules.management import Backfill, NewRecurrence, RecurrencePause
from penstock_ingress.rules.replies import Refusal, problem


class Request(NamedTuple):
    """Who asks for runs: the headers say which run of ours, if it is one; `actor` says it for the audit."""

    headers: MultiMapping[str]
    actor: str


async def show_recurrences(room: Room, environment: str, query: Mapping[str, str]) -> RecurrencePage:
    """Recurrences, by workflow. Raises Refusal."""
    workflow, after, limit = read_text(query, "workflow"), read_recurrence_token(query), read_limit(query)
    async with room.database.connection() as conn:
        found = await list_recurrences(conn, environment=environment, workflow=workflow, after=after, limit=limit + 1)
    shown = found[:limit]
    token = write_token(shown[-1].workflow, shown[-1].id) if len(found) > limit else None
    return RecurrencePage(results=[_show(recurrence) for recurrence in shown], after=token)


async def show_recurrence(room: Room, environment: str, id: UUID) -> Recurrence:
    """One recurrence. Raises Refusal."""
    return _show(await _get(room, environment, id))


async def create_recurrence(room: Room, environment: str, wanted: NewRecurrence, actor: str) -> Recurrence:
    """Set a recurrence as the step `recur` does; the one for the same workflow and thing is replaced. Raises
    Refusal.
    """
    return await room.definitions.decide(environment, partial(_set, room, environment, wanted, actor))


async def _set(
    room: Room, environment: str, wanted: NewRecurrence, actor: str, deployment: CompiledDeployment
) -> Recurrence:
    request = RunRequest(new_run_id(), environment, wanted.workflow, wanted.parameters, Trigger.SCHEDULE)
    checked = check_run(request, deployment)
    if isinstance(checked, Rejected):
        raise refuse(checked)

    async def store(conn: Connection) -> UUID:
        start = wanted.start if wanted.start is not None or wanted.every is None else await get_time(conn)
        rule = Rule(wanted.cron, wanted.every, start, wanted.timezone, wanted.end)
        recurrence = RecurrenceRequest(
            environment,
            wanted.workflow,
            wanted.thing,
            rule,
            {**checked.request.parameters},
            begins_later=wanted.start is None,
            overlap=wanted.overlap,
            times=wanted.times,
            pause_after_failures=wanted.pause_after_failures,
        )
        await set_recurrence(conn, request=recurrence)
        now = {"workflow": wanted.workflow, "for": wanted.thing, "cron": rule.cron, "every": rule.every}
        await note_acts(
            conn, [Act(environment, actor, AuditAction.RECURRENCE_CREATE, str(recurrence.id), None, {**now})]
        )
        return recurrence.id

    return await show_recurrence(room, environment, await room.database.in_transaction(store))


async def remove_recurrence(room: Room, environment: str, id: UUID, actor: str) -> Recurrence:
    """Delete a recurrence; shows what it was. Raises Refusal for that of a trigger, which the next deployment would
    bring back.
    """
    recurrence = await _get(room, environment, id)
    if recurrence.origin == "trigger":
        detail = f"this recurrence is a trigger of {recurrence.workflow}: remove it there and deploy, or pause it"
        raise Refusal(problem(409, detail, extensions={"code": "is_trigger"}))

    async def remove(conn: Connection) -> None:
        await stop_recurrence(conn, environment=environment, id=id)
        was = {"workflow": recurrence.workflow, "state": recurrence.state}
        await note_acts(conn, [Act(environment, actor, AuditAction.RECURRENCE_DELETE, str(id), {**was})])

    await room.database.in_transaction(remove)
    return _show(recurrence)


async def pause(room: Room, environment: str, id: UUID, wanted: RecurrencePause, actor: str) -> Recurrence:
    """Let it not tick again until it is resumed. Raises Refusal."""
    await _get(room, environment, id)
    await room.database.in_transaction(partial(pause_recurrence, id=id, note=wanted.note, actor=actor))
    return await show_recurrence(room, environment, id)


async def resume(room: Room, environment: str, id: UUID, actor: str) -> Recurrence:
    """Resume a recurrence from now on. Raises Refusal."""
    await _get(room, environment, id)
    await room.database.in_transaction(partial(resume_recurrence, id=id, actor=actor))
    return await show_recurrence(room, environment, id)


async def show_next(room: Room, environment: str, id: UUID, query: Mapping[str, str]) -> NextTicks:
    """The coming ticks of a recurrence. Raises Refusal."""
    recurrence, count = await _get(room, environment, id), read_count(query)
    async with room.database.connection() as conn:
        now = await get_time(conn)
    return NextTicks(results=domain.list_next_ticks(recurrence, now, count), after=None)


async def show_next_of_cron(room: Room, query: Mapping[str, str]) -> NextTicks:
    """The coming ticks of a cron expression. Raises Refusal."""
    cron, timezone, count = read_text(query, "cron"), read_text(query, "timezone") or UTC_ZONE, read_count(query)
    if cron is None:
        raise Refusal(problem(422, "cron: give an expression, such as 0 3 * * 1-5"))
    try:
        check_cron(cron)
        check_timezone(timezone)
    except ValueError as error:
        raise Refusal(problem(422, str(error))) from None
    async with room.database.connection() as conn:
        now = await get_time(conn)
    return NextTicks(results=list(islice(ticks_after(Rule(cron=cron, timezone=timezone), now), count)), after=None)


async def show_ticks(room: Room, environment: str, id: UUID, query: Mapping[str, str]) -> RecurrenceTickPage:
    """What became of the last ticks. Raises Refusal."""
    after, limit = read_tick_token(query), read_limit(query)
    await _get(room, environment, id)
    async with room.database.connection() as conn:
        page = await list_ticks(conn, recurrence_id=id, after=after, limit=limit)
    results = [
        RecurrenceTick(
            tick_at=tick.tick_at,
            outcome=tick.outcome,
            run=None if tick.run_id is None else RecurrenceRun(id=tick.run_id, state=tick.run_state),
            reason=tick.reason,
            decided_at=tick.decided_at or tick.tick_at,
        )
        for tick in page.results
    ]
    return RecurrenceTickPage(results=results, after=None if page.after is None else write_token(page.after, 0))


async def trigger(room: Room, environment: str, id: UUID, caller: Request) -> Run:
    """Start a run now, as a tick would; the times of the recurrence stay as they are. Raises Refusal."""
    recurrence, lineage = await _get(room, environment, id), await find_lineage(room, caller.headers, environment)

    async def start(deployment: CompiledDeployment) -> Admission:
        async def work(conn: Connection) -> Admission:
            outcome = await start_by_hand(conn, deployment=deployment, recurrence=recurrence, lineage=lineage)
            if isinstance(outcome, Rejected):
                raise refuse(outcome)
            await note_started(conn, caller.actor, recurrence, [outcome])
            return outcome

        return await room.database.in_transaction(work)

    (run,) = _tell(room, [await room.definitions.decide(environment, start)])
    async with room.database.connection() as conn:
        found = await find_run(conn, environment=environment, run_id=run.id)
    assert found is not None, "it was admitted just now"
    return found.plain


async def backfill(room: Room, environment: str, id: UUID, wanted: Backfill, caller: Request) -> Backfilled:
    """Start runs for past ticks that had none. Raises Refusal."""
    recurrence, lineage = await _get(room, environment, id), await find_lineage(room, caller.headers, environment)
    async with room.database.connection() as conn:
        until = min(wanted.until, await get_time(conn))
    try:
        ticks = list_past_ticks(recurrence, wanted.since, until)
    except ValueError as error:
        raise Refusal(problem(422, str(error))) from None

    async def start(deployment: CompiledDeployment) -> list[Admission]:
        async def work(conn: Connection) -> list[Admission]:
            outcomes = await make_up_ticks(
                conn, deployment=deployment, recurrence=recurrence, ticks=ticks, lineage=lineage
            )
            if isinstance(outcomes, Rejected):
                raise refuse(outcomes)
            await note_started(conn, caller.actor, recurrence, outcomes, (wanted.since, until))
            return outcomes

        return await room.database.in_transaction(work)

    runs = _tell(room, await room.definitions.decide(environment, start))
    return Backfilled(ticks=len(ticks), run_ids=[run.id for run in runs])


async def _get(room: Room, environment: str, id: UUID) -> domain.Recurrence:
    async with room.database.connection() as conn:
        found = await find_recurrence(conn, id=id, environment=environment)
    if found is None:
        raise Refusal(problem(404, f"{environment} has no recurrence {id}"))
    return found


def _tell(room: Room, outcomes: Sequence[Admission]) -> list[RunSummary]:
    """After the commit: publish the events, dispatch the new runs; returns these."""
    room.publisher.announce(outcomes)
    runs = [outcome.run for outcome in outcomes if isinstance(outcome, Admitted | Terminated)]
    room.acceptance.dispatch([run for run in runs if run.state is RunState.QUEUED])
    return runs


def _show(of: domain.Recurrence) -> Recurrence:
    return Recurrence(
        id=of.id,
        workflow=of.workflow,
        environment=of.environment,
        origin=of.origin,
        state=of.state,
        thing=of.thing,
        cron=of.rule.cron,
        every=of.rule.every,
        start=of.rule.start,
        end=of.rule.end,
        times=of.times,
        ticks_left=of.ticks_left,
        pause_after_failures=of.pause_after_failures,
        pause_note=of.pause_note,
        timezone=of.rule.timezone,
        overlap=of.overlap,
        catch_up_seconds=of.catch_up.total_seconds(),
        jitter_seconds=of.jitter.total_seconds(),
        parameters=of.parameters,
        next_tick_at=of.next_tick_at,
        last_tick_at=of.last_tick_at,
        last_run=None if of.last_run_id is None else RecurrenceRun(id=of.last_run_id, state=of.last_run_state),
        ticks=of.ticks,
        skipped=of.skipped,
        missed=of.missed,
        refused=of.refused,
        created_at=of.created_at,
        paused_at=of.paused_at,
    )
