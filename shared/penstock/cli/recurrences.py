"""`penstock recurrences`: what starts runs again and again, when next, and how to hold it, hurry it, or make up for the
past.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer

from penstock import clock
from penstock.cli.access import Environment, open_installation
from penstock.cli.choices import DeployedIn, OfWorkflow, moment
from penstock.cli.database import Data
from penstock.cli.identifiers import parse_recurrence_id, parse_recurrence_or_cron
from penstock.cli.output import (
    AsJson,
    console,
    fail,
    make_table,
    print_json,
    print_json_list,
    print_table,
    show_state,
    show_text,
    show_time,
)
from penstock.cli.starting import SCHEDULER_DELAY, with_current_deployment
from penstock.db import Connection, Database
from penstock.domain.recurrences import Recurrence, list_next_ticks
from penstock.domain.runs import Admission, Admitted, Rejected, RunSummary, Terminated
from penstock.domain.ticks import UTC_ZONE, Rule, check_cron, check_timezone, ticks_after
from penstock.errors import Permanent
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
from penstock.runs.recurrences.history import KEPT_TICKS, Tick, list_ticks
from penstock.runs.recurrences.rows import get_time
from penstock.store.audit import name_cli_actor
from penstock.store.deployments import CompiledDeployment

_LIST_EXAMPLES: Final = (
    "Examples:\n\n  penstock recurrences list -e live\n\n  penstock recurrences list -e live --workflow tidy --json"
)
_PAUSE_EXAMPLES: Final = (
    "Examples:\n\n  penstock recurrences pause 0190a5f2-7c00-8a11-9b22-0123456789ab\n\n  penstock recurrences pause ID "
    '--note "until the bank is back"'
)
_NEXT_EXAMPLES: Final = """Examples:

  penstock recurrences next 0190a5f2-7c00-8a11-9b22-0123456789ab

  penstock recurrences next '0 3 * * 1-5' --timezone Europe/Paris --count 5

An expression has five fields (minute, hour, day of month, month, day of week), six with the second before them, or is \
a macro such as @daily."""
_TICKS_EXAMPLES: Final = "Examples:\n\n  penstock recurrences ticks 0190a5f2-7c00-8a11-9b22-0123456789ab --limit 20"
_RESUME_EXAMPLES: Final = (
    "Examples:\n\n  penstock recurrences resume ID\n\nTicks that passed meanwhile are not made "
    "up; `backfill` does that."
)
_TRIGGER_EXAMPLES: Final = (
    "Examples:\n\n  penstock recurrences trigger ID\n\nThe times at which it ticks stay as they are."
)
_BACKFILL_EXAMPLES: Final = """Examples:

  penstock recurrences backfill ID --since 7d

  penstock recurrences backfill ID --since 2026-10-01T00:00:00Z --until 2026-10-08T00:00:00Z

Ticks that had their run get no second one. All runs are due at once."""
_PAGE: Final = 500

Id = Annotated[
    UUID,
    typer.Argument(metavar="ID", help="Id of the recurrence.", show_default=False, parser=parse_recurrence_id),
]
What = Annotated[
    object,
    typer.Argument(
        metavar="ID|EXPRESSION",
        help="A recurrence, or a cron expression.",
        show_default=False,
        parser=parse_recurrence_or_cron,
    ),
]
Since = Annotated[
    str, typer.Option("--since", help="From this time (ISO 8601), or so long ago (7d).", show_default=False)
]
Until = Annotated[str | None, typer.Option("--until", help="Before this time, or so long ago.", show_default="now")]
Work = Callable[[Database, Recurrence], Awaitable[list[RunSummary]]]


def add_commands(program: typer.Typer) -> None:
    """Add the group `recurrences`."""
    group = typer.Typer(help="Show and control recurrences.", no_args_is_help=True)
    group.command("list", epilog=_LIST_EXAMPLES)(list_all)
    group.command("next", epilog=_NEXT_EXAMPLES)(show_next)
    group.command("ticks", epilog=_TICKS_EXAMPLES)(show_ticks)
    group.command("pause", epilog=_PAUSE_EXAMPLES)(pause)
    group.command("resume", epilog=_RESUME_EXAMPLES)(resume)
    group.command("trigger", epilog=_TRIGGER_EXAMPLES)(trigger)
    group.command("backfill", epilog=_BACKFILL_EXAMPLES)(backfill)
    program.add_typer(group, name="recurrences", rich_help_panel="Operate")


def list_all(
    environment: DeployedIn = Environment.DEVELOPMENT,
    workflow: OfWorkflow = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List recurrences: their times, the next tick and the last run."""
    found = asyncio.run(_list(environment, workflow, data))
    if as_json:
        print_json_list(_as_json(recurrence) for recurrence in found)
        return
    if not found:
        console.print("nothing recurs")
        return
    columns = ("id", "workflow", "for", "when", "state", "next tick", "last run")
    table = make_table(*columns, droppable=("last run", "for", "when", "state"), elastic=("workflow", "for", "when"))
    for of in found:
        run = "-" if of.last_run_state is None else f"{show_state(of.last_run_state)} {of.last_run_id}"
        place = show_text(of.thing or "-")
        table.add_row(
            str(of.id),
            show_text(of.workflow),
            place,
            _when(of),
            of.state,
            show_time(of.next_tick_at if of.due_at else None),
            run,
        )
    print_table(table)


async def _list(environment: Environment, workflow: str | None, data: Path | None) -> list[Recurrence]:
    found: list[Recurrence] = []
    async with open_installation(data) as database, database.connection() as conn:
        while True:
            after = (found[-1].workflow, found[-1].id) if found else None
            page = await list_recurrences(conn, environment=environment, workflow=workflow, after=after, limit=_PAGE)
            found += page
            if len(page) < _PAGE:
                return found


def show_next(
    what: What,
    timezone: Annotated[str, typer.Option("--timezone", help="Time zone of the expression.")] = UTC_ZONE,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="How many ticks.")] = 10,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show the coming ticks of a recurrence, or of any cron expression."""
    if isinstance(what, UUID):
        ticks = asyncio.run(_next(what, count, data))
    else:
        ticks = _ticks_of_cron(str(what), timezone, count)
    if as_json:
        print_json_list(ticks)
        return
    for tick in ticks:
        console.print(show_time(tick))


def _ticks_of_cron(cron: str, timezone: str, count: int) -> list[datetime]:
    try:
        check_cron(cron)
        check_timezone(timezone)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return list(islice(ticks_after(Rule(cron=cron, timezone=timezone), clock.now()), count))


async def _next(id: UUID, count: int, data: Path | None) -> list[datetime]:
    async with open_installation(data) as database, database.connection() as conn:
        found = await find_recurrence(conn, id=id)
        if found is None:
            raise Permanent("no recurrence of that id; `penstock recurrences list` shows them")
        return list_next_ticks(found, await get_time(conn), count)


def show_ticks(
    id: Id,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=KEPT_TICKS, help="How many, newest first.")] = 20,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what became of the last ticks of a recurrence: those that started a run, and those that did not, and why."""
    ticks = asyncio.run(_last_ticks(id, limit, data))
    if as_json:
        names = ("tick_at", "outcome", "run_id", "run_state", "reason", "decided_at")
        print_json_list({name: getattr(tick, name) for name in names} for tick in ticks)
        return
    if not ticks:
        console.print("it has not ticked yet")
        return
    table = make_table("tick", "outcome", "run", "reason", droppable=("reason",), elastic=("reason",))
    for tick in ticks:
        run = "-" if tick.run_state is None else f"{show_state(tick.run_state)} {tick.run_id}"
        table.add_row(show_time(tick.tick_at), tick.outcome, run, show_text(tick.reason or "-"))
    print_table(table)


async def _last_ticks(id: UUID, limit: int, data: Path | None) -> list[Tick]:
    async with open_installation(data) as database, database.connection() as conn:
        if await find_recurrence(conn, id=id) is None:
            raise Permanent("no recurrence of that id; `penstock recurrences list` shows them")
        return (await list_ticks(conn, recurrence_id=id, after=None, limit=limit)).results


def pause(
    id: Id,
    note: Annotated[str | None, typer.Option("--note", help="For people: why.", show_default=False)] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Let a recurrence not tick again until it is resumed."""
    _report(asyncio.run(_change(id, data, partial(pause_recurrence, note=note))), as_json=as_json)


def resume(id: Id, data: Data = None, as_json: AsJson = False) -> None:
    """Let a recurrence tick again, from now on."""
    _report(asyncio.run(_change(id, data, resume_recurrence)), as_json=as_json)


async def _change(id: UUID, data: Path | None, change: Callable[..., Awaitable[None]]) -> Recurrence | None:
    async with open_installation(data) as database:
        await database.in_transaction(partial(change, id=id, actor=name_cli_actor()))
        async with database.connection() as conn:
            return await find_recurrence(conn, id=id)


def _report(found: Recurrence | None, *, as_json: bool) -> None:
    if found is None:
        fail("no recurrence of that id; `penstock recurrences list` shows them")
    if as_json:
        print_json(_as_json(found))
    else:
        next_tick = f", next tick {show_time(found.next_tick_at)}" if found.due_at else ""
        note = f"  ({show_text(found.pause_note)})" if found.pause_note else ""
        console.print(f"{found.id}  {show_text(found.workflow)}  {found.state}{note}{next_tick}")


def trigger(id: Id, data: Data = None, as_json: AsJson = False) -> None:
    """Start a run now, as a tick would."""
    (run,) = asyncio.run(_start(id, data, _trigger))
    if as_json:
        print_json({"id": run.id, "workflow": run.workflow, "environment": run.environment, "state": run.state})
    else:
        console.print(f"{run.id}  {show_state(run.state)}")


def backfill(id: Id, since: Since, until: Until = None, data: Data = None, as_json: AsJson = False) -> None:
    """Start runs for past ticks that had none."""
    begins_at, ends_at = moment(since, "--since"), None if until is None else moment(until, "--until")
    runs = asyncio.run(_start(id, data, partial(_backfill, since=begins_at, until=ends_at)))
    if as_json:
        print_json({"run_ids": [run.id for run in runs]})
    else:
        console.print(f"{len(runs)} {'run' if len(runs) == 1 else 'runs'} started")


async def _start(id: UUID, data: Path | None, work: Work) -> list[RunSummary]:
    async with open_installation(data) as database:
        async with database.connection() as conn:
            found = await find_recurrence(conn, id=id)
        if found is None:
            raise Permanent("no recurrence of that id; `penstock recurrences list` shows them")
        return await work(database, found)


async def _trigger(database: Database, recurrence: Recurrence) -> list[RunSummary]:
    async def admit(conn: Connection, *, deployment: CompiledDeployment) -> Sequence[Admission]:
        outcomes = [await start_by_hand(conn, deployment=deployment, recurrence=recurrence, delay=SCHEDULER_DELAY)]
        if not isinstance(outcomes[0], Rejected):
            await note_started(conn, name_cli_actor(), recurrence, outcomes)
        return outcomes

    return _new(await with_current_deployment(database, recurrence.environment, admit))


async def _backfill(
    database: Database, recurrence: Recurrence, *, since: datetime, until: datetime | None
) -> list[RunSummary]:
    async with database.connection() as conn:
        now = await get_time(conn)
    end = now if until is None else min(until, now)
    try:
        ticks = list_past_ticks(recurrence, since, end)
    except ValueError as error:
        raise Permanent(str(error)) from None

    async def admit(conn: Connection, *, deployment: CompiledDeployment) -> Sequence[Admission]:
        outcome = await make_up_ticks(
            conn, deployment=deployment, recurrence=recurrence, ticks=ticks, delay=SCHEDULER_DELAY
        )
        if isinstance(outcome, Rejected):
            return [outcome]
        await note_started(conn, name_cli_actor(), recurrence, outcome, (since, end))
        return outcome

    return _new(await with_current_deployment(database, recurrence.environment, admit))


def _new(outcomes: Sequence[Admission]) -> list[RunSummary]:
    for outcome in outcomes:
        if isinstance(outcome, Rejected):
            raise Permanent(outcome.message)
    return [outcome.run for outcome in outcomes if isinstance(outcome, Admitted | Terminated)]


def _when(of: Recurrence) -> str:
    rule = of.rule
    return show_text(f"{rule.cron or rule.every} {rule.timezone}")


def _as_json(of: Recurrence) -> dict[str, object]:
    names = (
        "id",
        "workflow",
        "environment",
        "origin",
        "state",
        "thing",
        "overlap",
        "parameters",
        "next_tick_at",
        "last_tick_at",
    )
    counts = ("ticks", "skipped", "missed", "refused", "created_at", "paused_at", "pause_note")
    limits = ("times", "ticks_left", "pause_after_failures")
    return {
        **{name: getattr(of, name) for name in names},
        "cron": of.rule.cron,
        "every": of.rule.every,
        "start": of.rule.start,
        "end": of.rule.end,
        "timezone": of.rule.timezone,
        "catch_up_seconds": of.catch_up / timedelta(seconds=1),
        "jitter_seconds": of.jitter / timedelta(seconds=1),
        "last_run": None if of.last_run_id is None else {"id": of.last_run_id, "state": of.last_run_state},
        **{name: getattr(of, name) for name in (*limits, *counts)},
    }
