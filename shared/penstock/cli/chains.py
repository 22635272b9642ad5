"""`penstock chain show`: a whole chain as a tree."""

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer
from rich.table import Table

from penstock.cli.access import open_installation
from penstock.cli.database import Data
from penstock.cli.output import AsJson, console, fail, make_table, print_json, show_state, show_text, show_time
from penstock.cli.repository import ChainRunView, ChainView, find_chain

_EXAMPLES: Final = (
    "Examples:\n\n  penstock chain show 0190a5f2-7c00-8a11-9b22-0123456789ab\n\nThe id may be that of "
    "any run of the chain."
)
_MOST_ALIKE: Final = 3
"""Children of one run beyond this many are counted instead of shown, when they are of one workflow and state and have
none themselves.
"""

ChainArgument = Annotated[
    UUID, typer.Argument(metavar="ID", help="Id of the chain, or of any of its runs.", show_default=False)
]
_Children = dict[UUID | None, list[ChainRunView]]


def add_commands(program: typer.Typer) -> None:
    """Add the group `chain`."""
    group = typer.Typer(help="Look at chains: all runs that come from one root.", no_args_is_help=True)
    group.command("show", epilog=_EXAMPLES)(show)
    program.add_typer(group, name="chain", rich_help_panel="Operate")


def show(chain_id: ChainArgument, data: Data = None, as_json: AsJson = False) -> None:
    """Show a chain: its runs as a tree, and how many there are at each depth."""
    chain = asyncio.run(_read(chain_id, data))
    if chain is None:
        fail(f"no chain {chain_id}, and no run of that id")
    if as_json:
        print_json(_as_json(chain))
        return
    size = f"{_runs(chain.total)}  {chain.workload:,.6g} units"
    stopped = f"  [red]stopped {show_time(chain.stopped_at)}[/]" if chain.stopped_at else ""
    warned = f"  [yellow]near its depth limit since {show_time(chain.warned_at)}[/]" if chain.warned_at else ""
    console.print(
        f"[bold]chain[/] {chain.id}  {chain.environment}  {size}{stopped}{warned}",
        soft_wrap=True,
    )
    for line in draw_tree(chain):
        console.print(line, soft_wrap=True)
    if len(chain.runs) < chain.total:
        console.print(f"[bright_black]… the {len(chain.runs)} runs nearest to the root; the rest is only counted[/]")
    console.print()
    console.print(_count_table(chain))


async def _read(chain_id: UUID, data: Path | None) -> ChainView | None:
    async with open_installation(data) as database, database.connection() as conn:
        return await find_chain(conn, run_id=chain_id)


def _as_json(chain: ChainView) -> dict[str, object]:
    counts = [{"depth": depth, "state": state, "runs": runs} for depth, state, runs in chain.counts]
    fields = ("id", "environment", "warned_at", "stopped_at", "workload", "runs", "total")
    return {name: getattr(chain, name) for name in fields} | {"counts": counts}


def draw_tree(chain: ChainView) -> list[str]:
    """The chain's runs under their parents, a line of markup each; many alike are one line."""
    known = {run.id for run in chain.runs}
    children: _Children = defaultdict(list)
    for run in chain.runs:
        children[run.parent_run_id if run.parent_run_id in known else None].append(run)
    lines = []
    # Not by recursion: a chain may be deeper than Python's stack. Each entry: guides of its children, guides of itself,
    # run, how many.
    open_branches = [("", "", run, alike) for run, alike in reversed(_group(children[None], children))]
    while open_branches:
        below, guides, run, alike = open_branches.pop()
        lines.append(_line(run, alike, guides))
        grouped = _group(children.get(run.id, []), children) if alike == 1 else []
        for position, (child, count) in reversed(list(enumerate(grouped))):
            is_last = position == len(grouped) - 1
            open_branches.append(
                (below + ("  " if is_last else "│ "), below + ("└ " if is_last else "├ "), child, count)
            )
    return lines


def _group(runs: list[ChainRunView], children: _Children) -> list[tuple[ChainRunView, int]]:
    """The runs with 1 each; leaves that are alike, when there are more than a few, as the first of them with their
    number.
    """
    alike: dict[tuple[str, str], list[ChainRunView]] = defaultdict(list)
    for run in runs:
        if not children.get(run.id):
            alike[run.workflow, run.state].append(run)
    many = {key: found for key, found in alike.items() if len(found) > _MOST_ALIKE}
    hidden = {run.id for found in many.values() for run in found[1:]}
    return [
        (
            run,
            len(many[run.workflow, run.state]) if not children.get(run.id) and (run.workflow, run.state) in many else 1,
        )
        for run in runs
        if run.id not in hidden
    ]


def _line(run: ChainRunView, alike: int, guides: str) -> str:
    reason = run.error.get("kind") if isinstance(run.error, dict) else None
    why = f" [bright_black]({show_text(str(reason))})[/]" if reason else ""
    identity = str(run.id) if alike == 1 else f"{f'{alike:,} alike':36}"
    return f"[bright_black]{identity}  {guides}[/]{show_text(run.workflow)}  {show_state(run.state)}{why}"


def _count_table(chain: ChainView) -> Table:
    states = list(dict.fromkeys(state for _, state, _ in chain.counts))
    table = make_table("depth", *states, numbers=("depth", *states))
    for depth in dict.fromkeys(depth for depth, _, _ in chain.counts):
        counts = {state: runs for at, state, runs in chain.counts if at == depth}
        table.add_row(str(depth), *(str(counts.get(state, "")) for state in states))
    return table


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count:,} runs"
