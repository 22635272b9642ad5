"""`penstock schedule`: start a run later, see what is coming, cancel it, move it, pause and resume it."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import typer
from typer.core import TyperGroup

from penstock.cli.access import Environment, find_installation, find_keyring, open_installation
from penstock.cli.choices import OfWorkflow, moment
from penstock.cli.database import Data
from penstock.cli.identifiers import parse_any_id, parse_chain_id, parse_list_id, parse_run_id
from penstock.cli.interventions import publish
from penstock.cli.operations import operate
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
from penstock.cli.starting import Started, start_run
from penstock.cli.values import read_due, split_pairs
from penstock.domain.schedule import Missed, ScheduleFilter
from penstock.domain.states import RunState
from penstock.runs.operations import OperationKind
from penstock.runs.schedule.interventions import (
    Cancelled,
    cancel_entry,
    move_run,
)
from penstock.runs.schedule.pauses import Pause, lift_pauses, list_pauses, pause_schedule
from penstock.runs.views.pages import Page
from penstock.runs.views.schedule import ScheduleEntry, SchedulePlace, list_schedule
from penstock.store.audit import name_cli_actor

_EXAMPLES: Final = """Examples:

  penstock schedule reminder --after 2h -p order=17

  penstock schedule reminder --at 2030-01-31T09:00:00Z -e live

  penstock schedule list -e live --workflow reminder

A workflow that is named like one of the commands below: penstock schedule -- NAME --after 2h"""
_LIST_EXAMPLES: Final = (
    "Examples:\n\n  penstock schedule list -e live\n\n  penstock schedule list --workflow reminder --until "
    "2030-01-31T09:00:00Z --json"
)
_CANCEL_EXAMPLES: Final = """Examples:

  penstock schedule cancel 0190a5f2-7c00-8a11-9b22-0123456789ab

  penstock schedule cancel -e live --workflow reminder --until 2030-01-31T09:00:00Z

An id may be that of a run, of a recurrence (its next tick is passed over) or of a list (its rest is given up). \
Recurrences keep ticking; `penstock recurrences pause` holds them."""
_MOVE_EXAMPLES: Final = (
    "Examples:\n\n  penstock schedule move ID --after 2h\n\n  penstock schedule move ID --at 2030-01-31T09:00:00Z"
)
_PAUSE_EXAMPLES: Final = """Examples:

  penstock schedule pause -e live --note "the bank is down"

  penstock schedule pause -e live --workflow charge

Nothing that matches is started until it is resumed; what is being performed continues."""
_RESUME_EXAMPLES: Final = """Examples:

  penstock schedule resume -e live --workflow charge --missed drop

What became due meanwhile runs, or with --missed drop: runs that had not begun are cancelled, ticks passed over."""
_START: Final = "start"
_BY: Final = "penstock schedule"
_MAX: Final = 1000

In = Annotated[Environment, typer.Option("--environment", "-e", help="Where.")]
Since = Annotated[str | None, typer.Option("--since", help="Only what is due from this time on (ISO 8601).")]
Until = Annotated[str | None, typer.Option("--until", help="Only what is due before this time (ISO 8601).")]
List = Annotated[UUID | None, typer.Option("--list", metavar="ID", help="Only of this list.", parser=parse_list_id)]
Chain = Annotated[UUID | None, typer.Option("--chain", metavar="ID", help="Only of this chain.", parser=parse_chain_id)]
At = Annotated[str | None, typer.Option("--at", metavar="TIME", help="When, such as 2030-01-31T09:00:00Z.")]
After = Annotated[str | None, typer.Option("--after", metavar="DURATION", help="So long from now, such as 10m.")]
Token = Annotated[str | None, typer.Option("--after", metavar="TOKEN", help="The next page: `after` of --json.")]
Pairs = Annotated[
    list[str] | None, typer.Option("-p", "--parameter", metavar="KEY=VALUE", help="A parameter of the run; repeat it.")
]


class WorkflowOrCommand(TyperGroup):
    """A group in which a first argument that is not a command of it is a workflow, and so is what stands after `--`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As its parent does it, with the command put in front where a workflow is named."""
        if args[:1] == ["--"] and len(args) > 1:
            args = [_START, *args[2:], "--", args[1]]
        elif args and args[0] not in (set(self.commands) - {_START}) | {"-h", "--help"}:
            args = [_START, *args]
        return super().parse_args(ctx, args)


def add_commands(program: typer.Typer) -> None:
    """Add the group `schedule`."""
    group = typer.Typer(
        cls=WorkflowOrCommand, no_args_is_help=True, epilog=_EXAMPLES, subcommand_metavar="WORKFLOW | COMMAND [ARGS]..."
    )
    group.callback()(_describe)
    group.command(_START, hidden=True)(start)
    group.command("list", epilog=_LIST_EXAMPLES)(show_list)
    group.command("cancel", epilog=_CANCEL_EXAMPLES)(cancel)
    group.command("move", epilog=_MOVE_EXAMPLES)(move)
    group.command("pause", epilog=_PAUSE_EXAMPLES)(pause)
    group.command("resume", epilog=_RESUME_EXAMPLES)(resume)
    program.add_typer(group, name="schedule", rich_help_panel="Operate")


def _describe() -> None:
    """Start a run later (`penstock schedule WORKFLOW --after 2h`), or look at what is coming and steer it."""


def start(
    workflow: Annotated[str, typer.Argument(help="Name of the workflow.", show_default=False)],
    at: At = None,
    after: After = None,
    parameters: Pairs = None,
    environment: In = Environment.DEVELOPMENT,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Start a run at a time, whatever else may start the workflow."""
    due = _due(at, after)
    try:
        given = split_pairs(parameters or [])
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="-p") from None
    started = asyncio.run(_start(workflow, environment, given, due, data))
    if as_json:
        print_json(started.as_json())
    else:
        console.print(f"{started.id}  {show_state(started.state)}")


async def _start(
    workflow: str, environment: Environment, given: dict[str, str], due: datetime | timedelta, data: Path | None
) -> Started:
    amqp_url = find_installation(data).amqp_url
    async with open_installation(data) as database:
        return await start_run(
            database,
            amqp_url,
            environment=environment,
            workflow=workflow,
            given=given,
            due=due,
            keyring=find_keyring(data, is_required=False),
        )


def show_list(
    environment: In = Environment.DEVELOPMENT,
    workflow: OfWorkflow = None,
    since: Since = None,
    until: Until = None,
    of_list: List = None,
    chain: Chain = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=_MAX, help="How many, what is due first.")] = 50,
    after: Annotated[
        str | None, typer.Option("--after", metavar="TOKEN", help="The next page: `after` in JSON.")
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List what is coming, in the order in which it is due."""
    wanted = _filter(environment, workflow, since, until, of_list, chain)
    try:
        place = None if after is None else SchedulePlace.read(after)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--after") from None
    page, pauses = asyncio.run(_list(wanted, place, limit, data))
    if as_json:
        print_json_list(page.results, after=page.after.write() if page.after else None)
        return
    columns = ("due", "what", "id", "workflow", "depth", "items", "")
    table = make_table(
        *columns, numbers=("depth", "items"), droppable=("depth", "items", "what"), elastic=("workflow",)
    )
    for entry in page.results:
        depth = "-" if entry.depth is None else str(entry.depth)
        items = "-" if entry.remaining is None else str(entry.remaining)
        held = "[yellow]paused[/]" if entry.paused else ""
        table.add_row(show_time(entry.at), entry.kind, str(entry.id), show_text(entry.workflow), depth, items, held)
    if page.results:
        print_table(table)
    else:
        console.print("nothing is coming")
    for one in pauses:
        console.print(f"paused since {show_time(one.paused_at)}: {_name(one)}")


async def _list(
    wanted: ScheduleFilter, after: SchedulePlace | None, limit: int, data: Path | None
) -> tuple[Page[ScheduleEntry, SchedulePlace], list[Pause]]:
    async with open_installation(data) as database, database.connection() as conn:
        page = await list_schedule(conn, wanted, after=after, limit=limit)
        return page, await list_pauses(conn, environment=wanted.environment)


def cancel(
    id: Annotated[
        UUID | None, typer.Argument(metavar="[ID]", help="Id of a run, recurrence or list.", parser=parse_any_id)
    ] = None,
    environment: In = Environment.DEVELOPMENT,
    workflow: OfWorkflow = None,
    since: Since = None,
    until: Until = None,
    of_list: List = None,
    chain: Chain = None,
    is_all: Annotated[bool, typer.Option("--all", help="Everything in the environment.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Cancel one of what is coming, or all that matches."""
    wanted = _filter(environment, workflow, since, until, of_list, chain)
    if sum((id is not None, is_all, not wanted.is_everything)) != 1:
        raise typer.BadParameter("give an id, options that narrow it down, or --all")
    if id is None:
        operate(OperationKind.CANCEL_SCHEDULE, wanted, by=_BY, data=data, as_json=as_json)
        return
    cancelled = asyncio.run(_cancel(id, environment, data))
    if cancelled is None:
        fail(f"nothing with the id {id} is coming in {environment}; `penstock schedule list` shows what is")
    count = len(cancelled.runs) + cancelled.ticks
    if as_json:
        print_json({"cancelled": count, "items": cancelled.items})
    else:
        console.print(f"{count} cancelled" + (f", {cancelled.items} items given up" if cancelled.items else ""))


async def _cancel(id: UUID, environment: str, data: Path | None) -> Cancelled | None:
    async with open_installation(data) as database:
        done = await database.in_transaction(
            partial(cancel_entry, environment=environment, id=id, by=_BY, actor=name_cli_actor())
        )
    await publish(data, cancelled=[] if done is None else done.runs, by=_BY)
    return done


def move(
    id: Annotated[UUID, typer.Argument(metavar="ID", help="Id of the run.", show_default=False, parser=parse_run_id)],
    at: At = None,
    after: After = None,
    environment: In = Environment.DEVELOPMENT,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Move a run to another time."""
    moved = asyncio.run(_move(id, environment, _due(at, after), data))
    if moved is None:
        fail(f"no run {id} in {environment}")
    state, is_moved = moved
    if not is_moved:
        fail(f"run {id} is {state}, and waits for no time")
    if as_json:
        print_json({"id": id, "state": state})
    else:
        console.print(f"{id}  {show_state(state)}")


async def _move(
    id: UUID, environment: str, due: datetime | timedelta, data: Path | None
) -> tuple[RunState, bool] | None:
    async with open_installation(data) as database:
        work = partial(move_run, environment=environment, run_id=id, to=due, by=_BY, actor=name_cli_actor())
        return await database.in_transaction(work)


def pause(
    environment: In = Environment.DEVELOPMENT,
    workflow: OfWorkflow = None,
    since: Since = None,
    until: Until = None,
    of_list: List = None,
    chain: Chain = None,
    note: Annotated[str | None, typer.Option("--note", help="For people: why.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Start nothing of an environment, or of what matches, until it is resumed."""
    wanted = _filter(environment, workflow, since, until, of_list, chain)
    _report([asyncio.run(_pause(wanted, note, data))], "paused", as_json=as_json)


async def _pause(wanted: ScheduleFilter, note: str | None, data: Path | None) -> Pause:
    async with open_installation(data) as database:
        return await database.in_transaction(partial(pause_schedule, of=wanted, note=note, actor=name_cli_actor()))


def resume(
    environment: In = Environment.DEVELOPMENT,
    workflow: OfWorkflow = None,
    since: Since = None,
    until: Until = None,
    of_list: List = None,
    chain: Chain = None,
    is_all: Annotated[bool, typer.Option("--all", help="All pauses of the environment.")] = False,
    missed: Annotated[Missed, typer.Option("--missed", help="What became due meanwhile.")] = Missed.QUEUE,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Lift the pause that was made with the same options."""
    wanted = _filter(environment, workflow, since, until, of_list, chain)
    if is_all and not wanted.is_everything:
        raise typer.BadParameter("give either --all or a filter")
    lifted = asyncio.run(_resume(wanted, missed, data, is_all=is_all))
    if not lifted and not is_all:
        fail(f"{environment} has no pause of exactly this kind; `penstock schedule list` lists the pauses")
    _report(lifted, "resumed", as_json=as_json)


async def _resume(wanted: ScheduleFilter, missed: Missed, data: Path | None, *, is_all: bool) -> list[Pause]:
    async with open_installation(data) as database:
        lift = partial(lift_pauses, of=wanted, missed=missed, is_all=is_all, actor=name_cli_actor())
        return await database.in_transaction(lift)


def _report(pauses: Sequence[Pause], what: str, *, as_json: bool) -> None:
    if as_json:
        print_json_list(_as_json(one) for one in pauses)
        return
    for one in pauses:
        console.print(f"{what}: {_name(one)}")


def _name(of: Pause) -> str:
    parts = {"workflow": of.of.workflow, "chain": of.of.chain_id, "list": of.of.list_id}
    times = {"since": of.of.since, "until": of.of.until}
    named = [f"{name} {part}" for name, part in parts.items() if part is not None]
    named += [f"{name} {show_time(time)}" for name, time in times.items() if time is not None]
    return show_text(", ".join((of.of.environment, *named)) + (f"  ({of.note})" if of.note else ""))


def _as_json(of: Pause) -> dict[str, object]:
    wanted = of.of
    return {
        "id": of.id, "environment": wanted.environment, "workflow": wanted.workflow, "chain": wanted.chain_id,
        "list": wanted.list_id, "since": wanted.since, "until": wanted.until, "note": of.note,
        "paused_at": of.paused_at,
    }  # fmt: skip


def _filter(
    environment: Environment, workflow: str | None, since: str | None, until: str | None, of_list: UUID | None,
    chain: UUID | None,
) -> ScheduleFilter:  # fmt: skip
    return ScheduleFilter(
        environment.value, workflow, moment(since, "--since"), moment(until, "--until"), of_list, chain
    )


def _due(at: str | None, after: str | None) -> datetime | timedelta:
    try:
        return read_due(at, after)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--at / --after") from None
