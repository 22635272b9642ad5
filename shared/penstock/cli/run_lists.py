"""`penstock runs list`: the newest runs, by state and workflow."""

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape

from penstock.cli.access import Environment, find_redactor, open_installation
from penstock.cli.database import Data
from penstock.cli.output import AsJson, console, make_table, print_json, print_table, show_state, show_time
from penstock.cli.repository import RunView, list_runs
from penstock.domain.states import RunState

_EXAMPLES: Final = """Examples:

  penstock runs list --state failed

  penstock runs list --state waiting --state scheduled --workflow reminder --limit 100 --json"""
_MOST: Final = 1000

States = Annotated[
    list[RunState] | None, typer.Option("--state", "-s", help="Only runs in this state; repeat it for several.")
]
Name = Annotated[str | None, typer.Option("--workflow", "-w", metavar="NAME", help="Only runs of this workflow.")]
In = Annotated[Environment | None, typer.Option("--environment", "-e", help="Only runs of this environment.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=_MOST, help="How many, the newest first.")]


def add_commands(group: typer.Typer) -> None:
    """Add `list` to the group `runs`."""
    group.command("list", epilog=_EXAMPLES)(show_list)


def show_list(
    states: States = None,
    workflow: Name = None,
    environment: In = None,
    limit: Limit = 50,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    runs = asyncio.run(_read(states or [], workflow, environment, limit, data))
    if as_json:
        print_json(runs)
        return
    if not runs:
        console.print("no such runs")
        return
    table = make_table("id", "workflow", "environment", "state", "depth", "created", "due", numbers=("depth",))
    for run in runs:
        row = (str(run.id), escape(run.workflow), run.environment, show_state(run.state), str(run.depth))
        table.add_row(*row, show_time(run.created_at), show_time(run.scheduled_at))
    print_table(table)


async def _read(
    states: list[RunState], workflow: str | None, environment: Environment | None, limit: int, data: Path | None
) -> list[RunView]:
    async with open_installation(data) as database, database.connection() as conn:
        runs = await list_runs(conn, states=states, workflow=workflow, environment=environment, limit=limit)
        redactors = {name: await find_redactor(database, data, name) for name in {run.environment for run in runs}}
    return [run.without_secrets(redactors[run.environment]) for run in runs]
