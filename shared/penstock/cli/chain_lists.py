"""`penstock chain list`: the newest chains, and those that want to be looked at."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer

from penstock import clock
from penstock.cli.access import Environment, open_installation
from penstock.cli.database import Data
from penstock.cli.identifiers import parse_chain_id
from penstock.cli.output import (
    AsJson,
    console,
    fail,
    make_table,
    print_json_list,
    print_table,
    show_text,
    show_time,
)
from penstock.cli.values import read_moment
from penstock.db import Connection
from penstock.runs.views.chains import ChainFilter, ChainMark, ChainPlace, find_chain_place, list_chains
from penstock.runs.views.models import ListedChain
from penstock.runs.views.pages import Page

_EXAMPLES: Final = """Examples:

  penstock chain list -e live --mark near             those that came near a limit

  penstock chain list -e live --mark cut --since 2h   those that a limit has cut

  penstock chain list -e live --workflow import_all --json | jq -r '.results[].id'"""
_MAX: Final = 1000

Mark = Annotated[
    ChainMark | None, typer.Option("--mark", "-m", help="Only those near a limit, cut at one, or stopped.")
]
Name = Annotated[
    str | None, typer.Option("--workflow", "-w", metavar="NAME", help="Only chains whose root is of this workflow.")
]
In = Annotated[Environment, typer.Option("--environment", "-e", help="Where.")]
Since = Annotated[str | None, typer.Option("--since", help="Only those that began since then (ISO 8601, or 2h).")]
Until = Annotated[str | None, typer.Option("--until", help="Only those that began before (ISO 8601, or 2h).")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=_MAX, help="How many, the newest first.")]
After = Annotated[
    UUID | None, typer.Option("--after", metavar="ID", help="Only chains older than this one.", parser=parse_chain_id)
]


def add_commands(group: typer.Typer) -> None:
    """Add `list` to the group `chain`."""
    group.command("list", epilog=_EXAMPLES)(show_list)


def show_list(
    mark: Mark = None,
    environment: In = Environment.DEVELOPMENT,
    workflow: Name = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    after: After = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List the chains that have scheduled anything, the newest first."""
    try:
        now = clock.now()
        times = [None if text is None else read_moment(text, now) for text in (since, until)]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since or --until") from None
    wanted = ChainFilter(environment.value, mark, workflow, *times)
    page = asyncio.run(_read(wanted, after, limit, data))
    if as_json:
        print_json_list(page.results, after=str(page.after[1]) if page.after else None)
    elif page.results:
        _print(page.results)
    else:
        console.print("no such chains")


def _print(chains: Sequence[ListedChain]) -> None:
    columns = ("id", "root", "runs", "of", "near", "cut", "stopped", "began")
    table = make_table(*columns, numbers=("runs", "of"), droppable=("of", "began"), elastic=("root",))
    for chain in chains:
        row = (str(chain.id), show_text(chain.workflow or "-"), str(chain.runs), str(chain.runs_limit))
        near = f"[yellow]{', '.join(chain.near)}[/]" if chain.near else ""
        cut = "" if chain.cut_at is None else f"[red]{show_time(chain.cut_at)}[/]"
        stopped = "" if chain.stopped_at is None else f"[red]{show_time(chain.stopped_at)}[/]"
        table.add_row(*row, near, cut, stopped, show_time(chain.created_at))
    print_table(table)


async def _read(
    wanted: ChainFilter, after: UUID | None, limit: int, data: Path | None
) -> Page[ListedChain, ChainPlace]:
    async with open_installation(data) as database, database.connection() as conn:
        place = None if after is None else await _find_place(conn, after, wanted.mark)
        found: list[ListedChain] = []
        while True:
            page = await list_chains(conn, wanted, after=place, limit=limit - len(found))
            found += page.results
            place = page.after
            if place is None or len(found) == limit:
                return Page(found, place)


async def _find_place(conn: Connection, chain_id: UUID, mark: ChainMark | None) -> ChainPlace:
    place = await find_chain_place(conn, chain_id=chain_id, mark=mark)
    if place is None:
        fail(f"no chain {chain_id} in the list; --after takes the id of the last chain of a page")
    return place
