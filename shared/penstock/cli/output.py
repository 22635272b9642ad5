"""How the command line speaks: tables and trees for people, JSON for programs, one line on standard error for what went
wrong.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, NoReturn

import orjson
import typer
from pydantic import JsonValue
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from penstock.domain.states import RunState

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

_STATE_STYLES: Final = {
    RunState.SCHEDULED: "cyan",
    RunState.QUEUED: "cyan",
    RunState.RUNNING: "bright_blue",
    RunState.WAITING: "cyan",
    RunState.SUCCEEDED: "green",
    RunState.FAILED: "red",
    RunState.SKIPPED: "bright_black",
    RunState.CANCELLED: "yellow",
    RunState.TERMINATED: "magenta",
}
_LONGEST_VALUE: Final = 400
_WIDEST: Final = 1000

console = Console(highlight=False)


def print_json(value: object) -> None:
    """`value` as indented JSON on standard output; ids and times as texts."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str))


def complain(message: str) -> None:
    """Say on standard error what went wrong."""
    typer.secho(f"penstock: {message}", err=True, fg=typer.colors.RED)


def fail(message: str) -> NoReturn:
    """Say what went wrong and end with exit code 1."""
    complain(message)
    raise typer.Exit(1)


def show_state(state: RunState) -> str:
    """A state in its colour, as markup."""
    return f"[{_STATE_STYLES[state]}]{state}[/]"


def show_time(moment: datetime | None) -> str:
    """A time in UTC, to the millisecond; `-` for none."""
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}Z"


def show_seconds(start: datetime | None, end: datetime | None) -> str:
    """How long it took from `start` to `end`; `-` while one of them is missing."""
    if start is None or end is None:
        return "-"
    seconds = (end - start).total_seconds()
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"


def show_value(value: JsonValue, length: int = _LONGEST_VALUE) -> str:
    """A JSON value on one line, as markup; cut when it is long (`--json` shows all of it)."""
    text = orjson.dumps(value).decode()
    return escape(text if len(text) <= length else f"{text[:length]}…")


def make_table(*columns: str, numbers: Sequence[str] = ()) -> Table:
    """A plain table; columns in `numbers` are aligned to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return table


def print_table(table: Table) -> None:
    """As wide as it is, even if the terminal is not: a line that a terminal wraps can still be searched, cut and
    copied.
    """
    natural = Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum
    Console(highlight=False, width=max(natural, console.width)).print(table)


def make_facts() -> Table:
    """A table of two columns without a head: what, and its value."""
    facts = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    return facts
