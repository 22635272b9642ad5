"""`penstock runs list`: the newest runs, by state and workflow."""

import asyncio
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer

from penstock.cli.access import Environment, find_redactor, open_installation
from penstock.cli.choices import Newest, RunsOf
from penstock.cli.database import Data
from penstock.cli.identifiers import parse_run_id
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
from penstock.db import Connection
from penstock.domain.states import RunState
from penstock.runs.views.finding import RunFilter
from penstock.runs.views.models import Run, RunFacts
from penstock.runs.views.pages import Page
from penstock.runs.views.runs import RunPlace, find_run, list_runs
from penstock.things.users import find_user

_EXAMPLES: Final = """Examples:

  penstock runs list --state failed

  penstock runs list --state waiting --state scheduled --workflow reminder --limit 100 --json

  penstock runs list -e live --user ada@example.com

  penstock runs list --after 0190a5f2-7c00-8a11-9b22-0123456789ab   the next page: that id is `after` in JSON"""

States = Annotated[
    list[RunState] | None, typer.Option("--state", "-s", help="Only runs in this state; repeat it for several.")
]
In = Annotated[Environment | None, typer.Option("--environment", "-e", help="Only runs of this environment.")]
User = Annotated[
    str | None, typer.Option("--user", "-u", metavar="WHO", help="Only runs for this user, by _id or email.")
]
After = Annotated[
    UUID | None, typer.Option("--after", metavar="ID", help="Only runs older than this one.", parser=parse_run_id)
]


def add_commands(group: typer.Typer) -> None:
    """Add `list` to the group `runs`."""
    group.command("list", epilog=_EXAMPLES)(show_list)


def show_list(
    states: States = None,
    workflow: RunsOf = None,
    environment: In = None,
    user: User = None,
    limit: Newest = 50,
    after: After = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    wanted = RunFilter(environment, workflow, states or None)
    page = asyncio.run(_read(wanted, user, after, limit, data))
    runs = page.results
    if as_json:
        print_json_list(runs, after=str(page.after[1]) if page.after else None)
        return
    if not runs:
        console.print("no such runs")
        return
    columns = ("id", "workflow", "environment", "state", "depth", "created", "due")
    droppable = ("due", "depth", "environment", "created")
    table = make_table(*columns, numbers=("depth",), droppable=droppable, elastic=("workflow",))
    for run in runs:
        row = (str(run.id), show_text(run.workflow), run.environment, show_state(run.state), str(run.depth))
        table.add_row(*row, show_time(run.created_at), show_time(run.scheduled_at))
    print_table(table)


async def _read(
    wanted: RunFilter, user: str | None, after: UUID | None, limit: int, data: Path | None
) -> Page[Run, RunPlace]:
    async with open_installation(data) as database, database.connection() as conn:
        place = None
        if after is not None:
            last = await find_run(conn, run_id=after)
            if last is None:
                fail(f"no run {after}; --after takes the id of the last run of a page")
            place = last.created_at, last.id
        user_id = None if user is None else await _find_user(conn, wanted.environment, user)
        page = await _list_all(conn, wanted, user_id, place, limit)
        redactors = {
            name: await find_redactor(database, data, name) for name in {run.environment for run in page.results}
        }
    return Page([run.plain.without_secrets(redactors[run.environment]) for run in page.results], page.after)


async def _list_all(
    conn: Connection, wanted: RunFilter, user_id: str | None, after: RunPlace | None, limit: int
) -> Page[RunFacts, RunPlace]:
    """At most `limit` runs, fewer only where there are no more: a page looks at a bounded number of runs."""
    found: list[RunFacts] = []
    while True:
        page = await list_runs(conn, wanted, user_id=user_id, after=after, limit=limit - len(found))
        found += page.results
        after = page.after
        if after is None or len(found) == limit:
            return Page(found, after)


async def _find_user(conn: Connection, environment: str | None, who: str) -> str:
    """The `_id` of the user with this email; an id is taken as it is."""
    if "@" not in who:
        return who
    names = [environment] if environment is not None else [one.value for one in Environment]
    ids = {name: await find_user(conn, environment=name, who=who) for name in names}
    found = [id for id in ids.values() if id is not None]
    if not found:
        fail(f"{' and '.join(names)} has no user with the email {who!r}, or several")
    if len(found) > 1:
        fail(f"{' and '.join(names)} both have a user with the email {who!r}; choose with --environment")
    return found[0]
