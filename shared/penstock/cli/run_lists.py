"""`penstock runs list`: the newest runs, by state and workflow."""

import asyncio
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer

from penstock.cli.access import Environment, find_redactor, open_installation
from penstock.cli.database import Data
from penstock.cli.output import (
    AsJson,
    console,
    fail,
    make_table,
    print_json_list,
    print_table,
    show_state,
    show_text,
    show_time,
)
from penstock.cli.repository import RunFilter, RunView, find_run, list_runs
from penstock.domain.states import RunState

_EXAMPLES: Final = """Examples:

  penstock runs list --state failed

  penstock runs list --state waiting --state scheduled --workflow reminder --limit 100 --json

  penstock runs list --after 0190a5f2-7c00-8a11-9b22-0123456789ab   the next page: that id is `after` in JSON"""
_MAX: Final = 1000

States = Annotated[
    list[RunState] | None, typer.Option("--state", "-s", help="Only runs in this state; repeat it for several.")
]
Name = Annotated[str | None, typer.Option("--workflow", "-w", metavar="NAME", help="Only runs of this workflow.")]
In = Annotated[Environment | None, typer.Option("--environment", "-e", help="Only runs of this environment.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=_MAX, help="How many, the newest first.")]
After = Annotated[UUID | None, typer.Option("--after", metavar="ID", help="Only runs older than this one.")]


def add_commands(group: typer.Typer) -> None:
    """Add `list` to the group `runs`."""
    group.command("list", epilog=_EXAMPLES)(show_list)


def show_list(
    states: States = None,
    workflow: Name = None,
    environment: In = None,
    limit: Limit = 50,
    after: After = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    wanted = RunFilter(tuple(states or ()), workflow, environment, after)
    found = asyncio.run(_read(wanted, limit, data))
    runs = found[:limit]
    if as_json:
        print_json_list(runs, after=str(runs[-1].id) if len(found) > limit else None)
        return
    if not runs:
        console.print("no such runs")
        return
    table = make_table("id", "workflow", "environment", "state", "depth", "created", "due", numbers=("depth",))
    for run in runs:
        row = (str(run.id), show_text(run.workflow), run.environment, show_state(run.state), str(run.depth))
        table.add_row(*row, show_time(run.created_at), show_time(run.scheduled_at))
    print_table(table)


async def _read(wanted: RunFilter, limit: int, data: Path | None) -> list[RunView]:
    """One more than `limit`, when there are more."""
    async with open_installation(data) as database, database.connection() as conn:
        if wanted.after is not None and await find_run(conn, run_id=wanted.after) is None:
            fail(f"no run {wanted.after}; --after takes the id of the last run of a page")
        runs = await list_runs(conn, wanted, limit=limit + 1)
        redactors = {name: await find_redactor(database, data, name) for name in {run.environment for run in runs}}
    return [run.without_secrets(redactors[run.environment]) for run in runs]
