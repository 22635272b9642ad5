"""`penstock lists`: how far lists are, with a bar; pause, resume and cancel them, and retry what has failed of them."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from penstock.cli.access import Environment, open_installation
from penstock.cli.choices import Newest, OfWorkflow
from penstock.cli.database import Data
from penstock.cli.identifiers import parse_list_id
from penstock.cli.operations import operate
from penstock.cli.output import (
    AsJson,
    VisibleConsole,
    console,
    fail,
    make_table,
    print_json,
    print_json_list,
    print_table,
    show_text,
    show_time,
)
from penstock.db import Database
from penstock.domain.schedule import Missed, ScheduleFilter
from penstock.runs.operations import OperationKind
from penstock.runs.schedule.interventions import end_lists
from penstock.runs.schedule.pauses import lift_pauses, pause_schedule
from penstock.runs.views.finding import RunFilter
from penstock.runs.views.lists import ListPlace, RunList, find_list, list_lists
from penstock.runs.views.pages import Page
from penstock.store.audit import name_cli_actor

_LIST_EXAMPLES: Final = "Examples:\n\n  penstock lists list\n\n  penstock lists list -e live --open --json"
_SHOW_EXAMPLES: Final = "Examples:\n\n  penstock lists show ID\n\n  penstock lists show ID --follow"
_PAUSE_EXAMPLES: Final = "Examples:\n\n  penstock lists pause ID\n\nWhat is being performed continues."
_RESUME_EXAMPLES: Final = "Examples:\n\n  penstock lists resume ID"
_CANCEL_EXAMPLES: Final = "Examples:\n\n  penstock lists cancel ID\n\nItems that have ended stay as they are."
_RETRY_EXAMPLES: Final = "Examples:\n\n  penstock lists retry ID\n\nEach continues from the step that failed."
_BY: Final = "penstock lists"
_LOOK_SECONDS: Final = 0.5

ListId = Annotated[UUID, typer.Argument(metavar="ID", help="Id of the list.", show_default=False, parser=parse_list_id)]


def add_commands(program: typer.Typer) -> None:
    """Add the group `lists`."""
    group = typer.Typer(no_args_is_help=True, help="See how far lists of runs are, and steer them.")
    group.command("list", epilog=_LIST_EXAMPLES)(show_lists)
    group.command("show", epilog=_SHOW_EXAMPLES)(show)
    group.command("pause", epilog=_PAUSE_EXAMPLES)(pause)
    group.command("resume", epilog=_RESUME_EXAMPLES)(resume)
    group.command("cancel", epilog=_CANCEL_EXAMPLES)(cancel)
    group.command("retry", epilog=_RETRY_EXAMPLES)(retry)
    program.add_typer(group, name="lists", rich_help_panel="Operate")


def show_lists(
    environment: Annotated[
        Environment | None, typer.Option("--environment", "-e", help="Only lists of this environment.")
    ] = None,
    workflow: OfWorkflow = None,
    is_open: Annotated[bool, typer.Option("--open", help="Only those that are under way.")] = False,
    limit: Newest = 50,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List the lists, the newest first."""
    page = asyncio.run(_read(environment, workflow, True if is_open else None, limit, data))
    if as_json:
        print_json_list(page.results, after=None)
        return
    if not page.results:
        console.print("no such lists")
        return
    columns = ("id", "workflow", "environment", "state", "items", "ended", "failed", "created")
    table = make_table(
        *columns, numbers=("items", "ended", "failed"), droppable=("environment", "created"), elastic=("workflow",)
    )
    for one in page.results:
        counts = (str(one.total), str(one.total - one.remaining), str(one.failed))
        table.add_row(
            str(one.id), show_text(one.workflow), one.environment, _state(one), *counts, show_time(one.created_at)
        )
    print_table(table)


async def _read(
    environment: str | None, workflow: str | None, is_open: bool | None, limit: int, data: Path | None
) -> Page[RunList, ListPlace]:
    async with open_installation(data) as database, database.connection() as conn:
        return await list_lists(
            conn, environment=environment, workflow=workflow, is_open=is_open, after=None, limit=limit
        )


def show(
    list_id: ListId,
    follows: Annotated[bool, typer.Option("--follow", "-f", help="Show a bar until it has ended.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show how far a list is."""
    found = asyncio.run(_follow(list_id, data, follows=follows))
    if as_json:
        print_json(found)
        return
    console.print(f"{found.id}  {show_text(found.workflow)}  {found.environment}  {_state(found)}")
    ends = {
        "succeeded": found.succeeded, "failed": found.failed, "skipped": found.skipped,
        "cancelled": found.cancelled, "terminated": found.terminated, "passed over": found.passed_over,
    }  # fmt: skip
    counts = {"scheduled": found.scheduled, "running": found.running, **ends}
    shown = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    console.print(f"{found.total - found.remaining} of {found.total} have ended" + (f": {shown}" if shown else ""))
    if found.rate is not None and found.finished_at is None:
        until = "" if found.expected_end is None else f", expected to end at {show_time(found.expected_end)}"
        console.print(f"{found.rate:g} a second{until}")


async def _follow(list_id: UUID, data: Path | None, *, follows: bool) -> RunList:
    async with open_installation(data) as database:
        found = await _find(database, list_id)
        terminal = VisibleConsole(stderr=True)
        if not follows:
            return found
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=terminal, disable=not terminal.is_terminal) as progress:
            task = progress.add_task(found.workflow, total=found.total)
            while found.finished_at is None:
                progress.update(task, completed=found.total - found.remaining, total=found.total)
                await asyncio.sleep(_LOOK_SECONDS)
                found = await _find(database, list_id)
            progress.update(task, completed=found.total - found.remaining, total=found.total)
        return found


async def _find(database: Database, list_id: UUID) -> RunList:
    async with database.connection() as conn:
        found = await find_list(conn, environment=None, list_id=list_id)
    if found is None:
        fail(f"no list {list_id}; `penstock lists list` shows them")
    return found


def pause(list_id: ListId, data: Data = None, as_json: AsJson = False) -> None:
    """Start no item of a list until it is resumed."""
    _report(asyncio.run(_steer(list_id, data, is_pause=True)), as_json=as_json)


def resume(list_id: ListId, data: Data = None, as_json: AsJson = False) -> None:
    """Lift the pause of a list."""
    _report(asyncio.run(_steer(list_id, data, is_pause=False)), as_json=as_json)


async def _steer(list_id: UUID, data: Path | None, *, is_pause: bool) -> RunList:
    async with open_installation(data) as database:
        of = ScheduleFilter((await _find(database, list_id)).environment, list_id=list_id)
        if is_pause:
            await database.in_transaction(partial(pause_schedule, of=of, note=None, actor=name_cli_actor()))
        else:
            await database.in_transaction(partial(lift_pauses, of=of, missed=Missed.QUEUE, actor=name_cli_actor()))
        return await _find(database, list_id)


def cancel(list_id: ListId, data: Data = None, as_json: AsJson = False) -> None:
    """Give up the rest of a list, and cancel its runs that have not ended."""
    environment = asyncio.run(_give_up(list_id, data))
    operate(OperationKind.CANCEL_RUNS, RunFilter(environment, list_id=list_id), by=_BY, data=data, as_json=as_json)


async def _give_up(list_id: UUID, data: Path | None) -> str:
    async with open_installation(data) as database:
        environment = (await _find(database, list_id)).environment
        of = ScheduleFilter(environment, list_id=list_id)
        await database.in_transaction(partial(end_lists, of=of))
        return environment


def retry(list_id: ListId, data: Data = None, as_json: AsJson = False) -> None:
    """Take up again the items of a list that have failed."""
    environment = asyncio.run(_look_up(list_id, data))
    operate(OperationKind.RETRY_RUNS, RunFilter(environment, list_id=list_id), by=_BY, data=data, as_json=as_json)


async def _look_up(list_id: UUID, data: Path | None) -> str:
    async with open_installation(data) as database:
        return (await _find(database, list_id)).environment


def _report(found: RunList, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        console.print(f"{found.id}  {_state(found)}")


def _state(found: RunList) -> str:
    return "[yellow]paused[/]" if found.paused else found.state
