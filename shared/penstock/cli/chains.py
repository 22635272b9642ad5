"""`penstock chain show`: a whole chain as a tree; and the group `chain`."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer
from rich.table import Table
from rich.text import Text

from penstock.cli import chain_control, chain_lists
from penstock.cli.access import open_installation
from penstock.cli.database import Data
from penstock.cli.identifiers import parse_run_id
from penstock.cli.output import (
    AsJson,
    console,
    fail,
    fits,
    make_table,
    print_json,
    print_lines,
    print_table,
    print_words,
    show_count,
    show_number,
    show_state,
    show_text,
    show_time,
)
from penstock.cli.tables import make_shortener
from penstock.db import Connection
from penstock.domain.cycles import Cycle
from penstock.domain.workload import shown_units
from penstock.runs.views.chains import count_chain, find_chain, list_chain_runs
from penstock.runs.views.models import ChainCount, ChainGauges, ChainHead, ChainRun
from penstock.runs.views.pictures import measure_chain, read_picture

_EXAMPLES: Final = (
    "Examples:\n\n  penstock chain show 0190a5f2-7c00-8a11-9b22-0123456789ab\n\nThe id may be that of "
    "any run of the chain."
)
_MAX_RUNS: Final = 1000
_NEAR: Final = 0.8
_MAX_ALIKE: Final = 3
"""Children of one run beyond this many are counted instead of shown, when they are of one workflow and state and have
none themselves.
"""

ChainArgument = Annotated[
    UUID,
    typer.Argument(
        metavar="ID", help="Id of the chain, or of any of its runs.", show_default=False, parser=parse_run_id
    ),
]
_Children = dict[UUID | None, list[ChainRun]]


@dataclass(frozen=True, slots=True)
class ChainView:
    """A chain: how many runs it has by depth and state, and those nearest to its root, at most _MAX_RUNS."""

    head: ChainHead
    counts: Sequence[ChainCount]
    runs: Sequence[ChainRun]
    gauges: ChainGauges
    cycle: Cycle | None

    @property
    def total(self) -> int:
        """How many runs the chain has."""
        return sum(count.runs for count in self.counts)

    @property
    def workload(self) -> float:
        """The workload units of all its runs."""
        return shown_units(sum(count.workload for count in self.counts))


def add_commands(program: typer.Typer) -> None:
    """Add the group `chain`."""
    group = typer.Typer(
        help="List, show, stop and resume chains: all runs that come from one root.", no_args_is_help=True
    )
    chain_lists.add_commands(group)
    group.command("show", epilog=_EXAMPLES)(show)
    chain_control.add_commands(group)
    program.add_typer(group, name="chain", rich_help_panel="Operate")


def show(chain_id: ChainArgument, data: Data = None, as_json: AsJson = False) -> None:
    """Show a chain: its runs as a tree, and how many there are at each depth."""
    chain = asyncio.run(_read(chain_id, data))
    if chain is None:
        fail(f"no chain {chain_id}, and no run of that id")
    if as_json:
        print_json(_as_json(chain))
        return
    size = f"{show_count(chain.total, 'run')}  {show_number(chain.workload)} units"
    head = chain.head
    stopped = f"  [red]stopped {show_time(head.stopped_at)}[/]" if head.stopped_at else ""
    warned = f"  [yellow]near its depth limit since {show_time(head.warned_at)}[/]" if head.warned_at else ""
    print_words(f"[bold]chain[/] {head.id}  {head.environment}  {size}{stopped}{warned}")
    print_words(_measure(chain.gauges))
    if chain.cycle is not None:
        print_words(f"[yellow]repeats[/] {show_text(chain.cycle.describe())}")
    print_lines(_fit_tree(chain.runs))
    if len(chain.runs) < chain.total:
        console.print(f"[bright_black]… the {len(chain.runs)} runs nearest to the root; the rest is only counted[/]")
    console.print()
    print_table(_count_table(chain))


async def _read(chain_id: UUID, data: Path | None) -> ChainView | None:
    async with open_installation(data) as database:
        return await database.in_transaction(partial(_read_chain, chain_id=chain_id))


async def _read_chain(conn: Connection, *, chain_id: UUID) -> ChainView | None:
    head = await find_chain(conn, run_id=chain_id)
    if head is None:
        return None
    counts = await count_chain(conn, chain_id=head.id)
    nearest = await list_chain_runs(conn, chain_id=head.id, after=None, limit=_MAX_RUNS)
    gauges, picture = await measure_chain(conn, chain_id=head.id), await read_picture(conn, chain_id=head.id)
    return ChainView(head, counts, nearest.results, gauges, picture.find_cycle())


def _as_json(chain: ChainView) -> dict[str, object]:
    counts = [count.model_dump(exclude={"workload"}) for count in chain.counts]
    return {
        **chain.head.model_dump(),
        "workload": chain.workload,
        "runs": chain.runs,
        "total": chain.total,
        "counts": counts,
        "gauges": chain.gauges.model_dump(),
        "cycle": None if chain.cycle is None else chain.cycle._asdict(),
    }


def _measure(gauges: ChainGauges) -> str:
    """`depth 10 of 10, runs 15 of 1,000,000`: what it has come to, and what bounds it."""
    parts = []
    for name, gauge in (("depth", gauges.depth), ("runs", gauges.runs), ("workload", gauges.workload)):
        if gauge.limit is not None:
            most = gauge.limit + gauge.extra
            colour = "red" if gauge.reached >= most else "yellow" if gauge.reached >= _NEAR * most else "green"
            granted = f" ({show_number(gauge.extra)} granted)" if gauge.extra else ""
            parts.append(f"{name} [{colour}]{show_number(gauge.reached)}[/] of {show_number(most)}{granted}")
    return ", ".join(parts)


def _fit_tree(runs: Sequence[ChainRun]) -> list[str]:
    lines = draw_tree(runs)
    return lines if fits(lines) else draw_tree(runs, make_shortener(str(run.id) for run in runs), width=console.width)


def draw_tree(runs: Sequence[ChainRun], show_id: Callable[[str], str] = str, *, width: int | None = None) -> list[str]:
    """A chain's runs under their parents, a line of markup each; many alike are one line. Where a line would be wider
    than `width`, its depth stands in place of the outer guides.
    """
    known = {run.id for run in runs}
    children: _Children = defaultdict(list)
    for run in runs:
        children[run.parent_run_id if run.parent_run_id in known else None].append(run)
    lines = []
    # Not by recursion: a chain may be deeper than Python's stack. Each entry: guides of its children, guides of itself,
    # run, how many.
    open_branches = [("", "", run, alike) for run, alike in reversed(_group(children[None], children))]
    while open_branches:
        below, guides, run, alike = open_branches.pop()
        lines.append(_line(show_id(str(run.id)), run, alike, guides, width))
        grouped = _group(children.get(run.id, []), children) if alike == 1 else []
        for position, (child, count) in reversed(list(enumerate(grouped))):
            is_last = position == len(grouped) - 1
            open_branches.append(
                (below + ("  " if is_last else "│ "), below + ("└ " if is_last else "├ "), child, count)
            )
    return lines


def _group(runs: list[ChainRun], children: _Children) -> list[tuple[ChainRun, int]]:
    """The runs with 1 each; leaves that are alike, when there are more than a few, as the first of them with their
    number.
    """
    alike: dict[tuple[str, str], list[ChainRun]] = defaultdict(list)
    for run in runs:
        if not children.get(run.id):
            alike[run.workflow, run.state].append(run)
    many = {key: found for key, found in alike.items() if len(found) > _MAX_ALIKE}
    hidden = {run.id for found in many.values() for run in found[1:]}
    return [
        (
            run,
            len(many[run.workflow, run.state]) if not children.get(run.id) and (run.workflow, run.state) in many else 1,
        )
        for run in runs
        if run.id not in hidden
    ]


def _line(id: str, run: ChainRun, alike: int, guides: str, width: int | None) -> str:
    reason = run.error.get("kind") if isinstance(run.error, dict) else None
    why = f" [bright_black]({show_text(str(reason))})[/]" if reason else ""
    identity = id if alike == 1 else f"{alike:,} alike".ljust(len(id))
    rest = f"{show_text(run.workflow)}  {show_state(run.state)}{why}"
    if width is not None:
        room = width - len(identity) - 2 - Text.from_markup(rest).cell_len
        guides = _cut_guides(guides, run.depth, room)
    return f"[bright_black]{identity}  {guides}[/]{rest}"


def _cut_guides(guides: str, depth: int, room: int) -> str:
    """The innermost of the guides, behind the depth, in so much room."""
    if len(guides) <= room:
        return guides
    head = f"{depth} … "
    return head + guides[-max(room - len(head), 2) :]


def _count_table(chain: ChainView) -> Table:
    states = list(dict.fromkeys(count.state for count in chain.counts))
    table = make_table("depth", *states, numbers=("depth", *states))
    for depth in dict.fromkeys(count.depth for count in chain.counts):
        runs = {count.state: count.runs for count in chain.counts if count.depth == depth}
        table.add_row(str(depth), *(str(runs.get(state, "")) for state in states))
    return table
